"""Real speech over the wire through the real models. Written texts are compared word by word."""

import asyncio
import time
from typing import Any

import httpx
import numpy as np
import pytest

from services.asr.messages import Final, Partial, SpeechStarted, Stopped
from services.asr.transcript import Transcript
from services.shared.audio.pcm import Floats
from services.shared.media.wav import wav_bytes
from tests.services.asr.client import Caller, recognise, session
from tests.services.asr.sounds import (
    RATE,
    encoded,
    joined,
    opus_packets,
    pcm,
    recording,
    silence,
    transcripts,
    words_of,
)
from tests.services.serving import LiveService

pytestmark = pytest.mark.models

TEXTS = transcripts()
JFK = "jfk.flac"
PROMPT = "confbridge-only-one.flac"


@pytest.fixture(scope="module")
def recordings() -> dict[str, Floats]:
    return {name: recording(name) for name in TEXTS}


@pytest.fixture(scope="module")
def jfk(recordings: dict[str, Floats]) -> Floats:
    return recordings[JFK]


@pytest.fixture(scope="module")
def prompt(recordings: dict[str, Floats]) -> Floats:
    return joined(recordings[PROMPT], silence(500))


def check(caller: Caller, name: str = PROMPT) -> None:
    assert words_of(caller.text) == words_of(TEXTS[name])
    assert caller.all(Stopped)[0].dropped_ms == 0


async def test_a_speech_sent_at_once(hearing: LiveService, jfk: Floats) -> None:
    caller = await recognise(hearing.ws, pcm(jfk))
    check(caller, JFK)
    finals = caller.all(Final)
    assert finals[-1].turn_end
    assert all(final.language == "en" for final in finals)
    assert all(0.3 < (final.confidence or 0) <= 1 for final in finals if final.text)
    assert caller.all(Stopped)[0].received_ms == 11_000


async def test_a_speech_in_odd_chunks(hearing: LiveService, jfk: Floats) -> None:
    data = pcm(jfk)
    sizes = [1, 3, 999, 4097, 17, 12_345, 2]
    chunks: list[bytes] = []
    at = 0
    while at < len(data):
        chunks.append(data[at : at + sizes[len(chunks) % len(sizes)]])
        at += len(chunks[-1])
    check(await recognise(hearing.ws, chunks, partials=False), JFK)


@pytest.mark.slow
async def test_a_speech_at_its_own_pace(hearing: LiveService, prompt: Floats) -> None:
    data = pcm(joined(prompt, silence(1500)))
    async with session(hearing.ws, start={"word_timestamps": True}) as caller:
        began = time.monotonic()
        for number, at in enumerate(range(0, len(data), 1280)):  # 40 ms
            await asyncio.sleep(max(0.0, began + number * 0.04 - time.monotonic()))
            await caller.audio(data[at : at + 1280])
        final = await caller.hear(Final)
        await caller.stop()
    check(caller)
    assert final.turn_end
    assert len(caller.all(SpeechStarted)) == 1
    partials = caller.all(Partial)
    assert len(partials) >= 2
    for before, after in zip(partials, partials[1:], strict=False):
        assert after.stable_text.startswith(before.stable_text)
    assert final.text.startswith(partials[-1].stable_text)
    assert final.words is not None
    assert words_of(" ".join(word.word for word in final.words)) == words_of(final.text)
    for word in final.words:
        assert final.start_ms - 100 <= word.start_ms <= word.end_ms <= final.end_ms + 400


async def test_ten_callers_at_once_and_no_word_crosses_over(
    hearing: LiveService, recordings: dict[str, Floats]
) -> None:
    names = [name for name in TEXTS if name != JFK]
    assert len(names) == 10
    audios = [pcm(joined(recordings[name], silence(300))) for name in names]

    async def call(data: bytes) -> Caller:
        async with session(hearing.ws) as caller:
            for at in range(0, len(data), 6400):  # 200 ms, twice as fast as it is said
                await caller.audio(data[at : at + 6400])
                await asyncio.sleep(0.1)
            await caller.stop()
        return caller

    callers = await asyncio.gather(*map(call, audios))
    for name, caller in zip(names, callers, strict=True):
        check(caller, name)


@pytest.mark.parametrize(
    ("encoding", "rate", "channels"),
    [
        ("pcm_f32le", 16_000, 1),
        ("mulaw", 8_000, 1),
        ("alaw", 8_000, 1),
        ("pcm_s16le", 48_000, 2),
        ("pcm_s16le", 8_000, 1),
    ],
)
async def test_raw_encodings(
    hearing: LiveService, prompt: Floats, encoding: str, rate: int, channels: int
) -> None:
    data = pcm(prompt, encoding, rate, channels)
    options: dict[str, Any] = {"sample_rate": rate, "channels": channels}
    check(await recognise(hearing.ws, data, encoding=encoding, partials=False, **options))


async def test_opus_packets(hearing: LiveService, prompt: Floats) -> None:
    packets = opus_packets(prompt)
    assert max(map(len, packets)) < 1276
    check(await recognise(hearing.ws, packets, encoding="opus", partials=False))


@pytest.mark.parametrize("size", [97, 700, 100_000])
async def test_a_webm_stream(hearing: LiveService, prompt: Floats, size: int) -> None:
    data = encoded(prompt, "webm", "libopus")
    chunks = [data[at : at + size] for at in range(0, len(data), size)]
    check(await recognise(hearing.ws, chunks, encoding="webm", partials=False))


async def test_one_short_word_survives(hearing: LiveService, recordings: dict[str, Floats]) -> None:
    word = joined(silence(700), recordings["vm-helpexit.flac"][: RATE * 6 // 10], silence(1200))
    caller = await recognise(hearing.ws, pcm(word), turn={"mode": "silence"})
    assert words_of(caller.text)[:1] == ["press"]
    assert sum(final.turn_end for final in caller.all(Final)) == 1


async def test_noise_and_silence_say_nothing(hearing: LiveService) -> None:
    noise = np.random.default_rng(1).normal(0, 0.003, 5 * RATE).astype(np.float32)
    assert (await recognise(hearing.ws, pcm(silence(5000)))).text == ""
    assert (await recognise(hearing.ws, pcm(noise))).text == ""


FILES = [
    ("flac", "flac"),
    ("mp3", "libmp3lame"),
    ("ogg", "libopus"),
    ("webm", "libopus"),
    ("ipod", "aac"),
]


async def upload(service: LiveService, file: bytes, **fields: str) -> Transcript:
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        answer = await client.post(
            f"{service.http}/v1/transcribe", files={"file": ("speech", file)}, data=fields
        )
    assert answer.status_code == 200, answer.text
    return Transcript.model_validate_json(answer.content)


@pytest.mark.parametrize(("container", "codec"), FILES)
async def test_files(hearing: LiveService, prompt: Floats, container: str, codec: str) -> None:
    got = await upload(hearing, encoded(prompt, container, codec))
    assert words_of(got.text) == words_of(TEXTS[PROMPT])


async def test_a_file_of_several_segments_with_words(
    hearing: LiveService, recordings: dict[str, Floats]
) -> None:
    names = [JFK, PROMPT, "vm-passchanged.flac"]
    parts = [joined(recordings[name], silence(2500)) for name in names]
    got = await upload(hearing, wav_bytes(joined(*parts), RATE), word_timestamps="true")
    assert len(got.segments) == 3
    at = 0
    for name, part, segment in zip(names, parts, got.segments, strict=True):
        assert words_of(segment.text) == words_of(TEXTS[name])
        assert segment.words is not None
        assert words_of(" ".join(word.word for word in segment.words)) == words_of(TEXTS[name])
        for word in segment.words:
            assert at - 200 <= word.start_ms <= word.end_ms <= at + len(part) * 1000 // RATE
        at += len(part) * 1000 // RATE
    assert got.duration_ms == at


async def test_the_language_must_be_one_of_the_model_s(hearing: LiveService) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(
            f"{hearing.http}/v1/transcribe",
            files={"file": ("speech", wav_bytes(silence(100), RATE))},
            data={"language": "vi"},
        )
    assert answer.json()["code"] == "unsupported_language"
    assert answer.json()["message"].endswith(": en")
