"""Both sides of a call in one file, where they were heard."""

import asyncio
import contextlib
import os
import time
import wave
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.voice_agent.store.config import RecordingConfig
from examples.voice_agent.store.recordings import Recordings
from examples.voice_agent.store.timeline import Samples, StereoTimeline
from services.shared.audio.pcm import AudioFormat, Encoding
from tests.services.serving import eventually

RATE = 8000


def tone(ms: int, value: int) -> Samples:
    return np.full(ms * RATE // 1000, value, dtype="<i2")


def stereo(data: bytes) -> Samples:
    return np.frombuffer(data, dtype="<i2").reshape(-1, 2)


def test_samples_lie_where_they_were_heard() -> None:
    timeline = StereoTimeline(RATE, 100.0, max_s=60)
    timeline.caller(tone(1000, 1), 101.0)
    timeline.agent(tone(500, 2), 101.5)
    timeline.caller(tone(1000, 3), 103.0)
    left, right = stereo(timeline.take(final=True)).T
    assert left[:RATE].tolist() == [1] * RATE
    assert not left[RATE : 2 * RATE].any()
    assert left[2 * RATE :].tolist() == [3] * RATE
    assert not right[: RATE * 3 // 2].any()
    assert right[RATE * 3 // 2 : RATE * 2].tolist() == [2] * (RATE // 2)
    assert len(right) == 3 * RATE


def test_jitter_makes_no_seams() -> None:
    timeline = StereoTimeline(RATE, 0.0, max_s=60)
    random = np.random.default_rng(7)
    for number in range(100):
        arrival = (number + 1) * 0.02 + random.uniform(0, 0.1)
        timeline.caller(tone(20, number + 1), arrival)
    left = stereo(timeline.take(final=True))[:, 0]
    assert left.tolist() == [number + 1 for number in range(100) for _ in range(160)]


def test_one_silent_side_does_not_keep_the_other_in_memory() -> None:
    timeline = StereoTimeline(RATE, 0.0, max_s=600)
    for second in range(100):
        timeline.caller(tone(1000, 1), second + 1.0)
        timeline.take()
        assert timeline.pending <= 2 * RATE
    assert timeline.position == 98 * RATE


def test_no_recording_is_longer_than_allowed_whatever_the_times() -> None:
    timeline = StereoTimeline(RATE, 0.0, max_s=2)
    timeline.caller(tone(500, 1), 1e9)
    timeline.agent(tone(3000, 2), -5.0)
    assert len(stereo(timeline.take(final=True))) == 2 * RATE


pieces = st.lists(
    st.tuples(st.booleans(), st.integers(0, 400), st.floats(0, 20), st.booleans()), max_size=30
)


@given(pieces)
def test_every_sample_is_there_once_and_in_order(
    given_pieces: list[tuple[bool, int, float, bool]],
) -> None:
    timeline, out = StereoTimeline(RATE, 0.0, max_s=60), b""
    said: tuple[list[int], list[int]] = ([], [])
    for is_agent, length, at_s, then_take in given_pieces:
        first = len(said[is_agent]) + 1
        numbers = list(range(first, first + length))
        said[is_agent].extend(numbers)
        samples = np.array(numbers, dtype="<i2")
        if is_agent:
            timeline.agent(samples, at_s)
        else:
            timeline.caller(samples, at_s)
        if then_take:
            out += timeline.take()
    out += timeline.take(final=True)
    for channel in (0, 1):
        heard = stereo(out)[:, channel]
        assert heard[heard != 0].tolist() == said[channel]


def frames_in(folder: Path) -> list[int]:
    """Lengths of the files in it."""
    lengths = []
    for path in folder.rglob("*.*"):
        with wave.open(str(path), "rb") as file:
            lengths.append(file.getnframes())
    return lengths


async def record(folder: Path, file_format: str) -> tuple[str, float]:
    config = RecordingConfig.model_validate({"folder": folder, "format": file_format})
    mulaw = AudioFormat(Encoding.MULAW, RATE)
    begun = time.monotonic()
    async with Recordings(config) as recordings, recordings.open("one", mulaw) as recording:
        said = mulaw.encode(np.full(RATE, 0.5, dtype=np.float32))
        recording.caller(said, begun + 1)
        recording.agent(said, begun + 1)
    assert recording.failure is None
    return recording.name, begun


@pytest.mark.parametrize("file_format", ["wav", "flac"])
async def test_a_recording_is_a_stereo_file(tmp_path: Path, file_format: str) -> None:
    name, _ = await record(tmp_path, file_format)
    path = Recordings(RecordingConfig(folder=tmp_path)).path(name)
    assert path is not None and [each.name for each in path.parent.iterdir()] == [path.name]
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray() for frame in container.decode(audio=0)]
        assert container.streams.audio[0].channels == 2
        assert container.streams.audio[0].rate == RATE
    left, right = np.concatenate(frames, axis=1).reshape(-1, 2).T
    assert abs(len(left) - 2 * RATE) <= 2
    assert abs(int(left[RATE // 2]) - 16384) < 500 and left[RATE + 10 :].max() == 0
    assert abs(int(right[RATE * 3 // 2]) - 16384) < 500 and right[: RATE - 10].max() == 0


async def test_a_recording_can_be_played_while_it_goes_on(tmp_path: Path) -> None:
    """So it can after a crash."""
    config = RecordingConfig(folder=tmp_path)
    pcm = AudioFormat(Encoding.PCM_S16LE, RATE)
    async with Recordings(config) as recordings, recordings.open("one", pcm) as recording:
        recording.caller(tone(4000, 5).tobytes(), time.monotonic() + 4)

        def playable() -> list[int]:
            with contextlib.suppress(EOFError, wave.Error):  # it is just being begun
                return frames_in(tmp_path)
            return []

        await eventually(lambda: playable() != [])
        assert playable() == [2 * RATE]


async def test_who_refuses_is_not_kept(tmp_path: Path) -> None:
    pcm = AudioFormat(Encoding.PCM_S16LE, RATE)
    config = RecordingConfig(folder=tmp_path)
    async with Recordings(config) as recordings, recordings.open("one", pcm) as recording:
        recording.caller(tone(4000, 5).tobytes(), time.monotonic() + 4)
        await eventually(lambda: any(tmp_path.rglob("*.wav")))
        recording.discard()
        recording.caller(tone(1000, 5).tobytes(), time.monotonic() + 5)
    assert frames_in(tmp_path) == []


async def test_a_disk_that_cannot_be_written_ends_the_recording_only(tmp_path: Path) -> None:
    (tmp_path / "blocked").write_text("a file where the folder should be")
    config = RecordingConfig(folder=tmp_path / "blocked")
    pcm = AudioFormat(Encoding.PCM_S16LE, RATE)
    async with Recordings(config) as recordings, recordings.open("one", pcm) as recording:
        recording.caller(tone(1000, 5).tobytes(), time.monotonic() + 1)
        await eventually(lambda: recording.failure is not None)
        recording.caller(tone(1000, 5).tobytes(), time.monotonic() + 1)
    assert recording.failure is not None


async def test_a_call_that_has_no_time_leaves_its_recording_to_the_folder(tmp_path: Path) -> None:
    config = RecordingConfig(folder=tmp_path, format="flac")
    pcm = AudioFormat(Encoding.PCM_S16LE, RATE)
    async with Recordings(config) as recordings:
        recording = recordings.open("one", pcm)

        async def call() -> None:
            async with recording:
                recording.caller(tone(4000, 5).tobytes(), time.monotonic() + 4)
                await asyncio.sleep(60)

        calling = asyncio.create_task(call())
        await asyncio.sleep(0.2)
        calling.cancel()
        await asyncio.sleep(0)
        calling.cancel()  # also while it waits for its file
        await asyncio.wait([calling])
    path = recordings.path(recording.name)
    assert path is not None and path.suffix == ".flac"
    with av.open(str(path)) as container:
        samples = sum(frame.samples for frame in container.decode(audio=0))
    assert samples >= 4 * RATE
    assert [each.name for each in path.parent.iterdir()] == [path.name]


async def test_what_a_dead_process_left_is_found_and_finished(tmp_path: Path) -> None:
    day = tmp_path / "2026-11-20"
    day.mkdir()
    left = day / "one.wav"
    with wave.open(str(left), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(bytes(4 * RATE))
    fresh = day / "two.wav"  # somebody else may be writing it
    fresh.write_bytes(left.read_bytes())
    os.utime(left, (1, 1))
    recordings = Recordings(RecordingConfig(folder=tmp_path, format="flac"))
    assert recordings.path("2026-11-20/one.flac") == left
    async with recordings:
        async with asyncio.timeout(10):
            while left.exists():  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    assert recordings.path("2026-11-20/one.flac") == day / "one.flac"
    assert fresh.exists()


@pytest.mark.parametrize("name", ["", "../secret", "/etc/passwd", "2026/none.wav", "."])
def test_a_name_never_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text("x")
    folder = tmp_path / "recordings"
    folder.mkdir()
    assert Recordings(RecordingConfig(folder=folder)).path(name) is None
