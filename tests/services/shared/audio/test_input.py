from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.shared.audio.input import MODEL_RATE, PcmInput
from services.shared.audio.pcm import AudioFormat, Encoding, Floats

FORMATS = st.builds(
    AudioFormat,
    encoding=st.sampled_from(list(Encoding)),
    sample_rate=st.sampled_from([8000, 16_000, 24_000, 44_100]),
    channels=st.integers(1, 2),
)


def heard(audio_format: AudioFormat, chunks: list[bytes]) -> tuple[Floats, int]:
    source = PcmInput(audio_format)
    parts = [source.push(chunk) for chunk in chunks]
    tail, leftover = source.flush()
    source.close()
    return np.concatenate([*parts, tail]), leftover


@settings(max_examples=60)
@given(
    audio_format=FORMATS,
    cuts=st.lists(st.integers(0, 4000), max_size=12).map(sorted),
    extra=st.integers(0, 7),
)
def test_any_chunking_is_heard_the_same(
    audio_format: AudioFormat, cuts: list[int], extra: int
) -> None:
    tone = (0.5 * np.sin(np.arange(500) / 5)).astype(np.float32)
    data = audio_format.encode(tone) + bytes(extra % audio_format.frame_bytes)
    edges = [0, *(cut for cut in cuts if cut < len(data)), len(data)]
    chunks = [data[start:end] for start, end in zip(edges, edges[1:], strict=False)]
    expected, _ = heard(audio_format, [data])
    actual, leftover = heard(audio_format, chunks)
    assert leftover == extra % audio_format.frame_bytes
    assert abs(len(actual) - 500 * MODEL_RATE / audio_format.sample_rate) <= 1
    assert np.array_equal(actual, expected)


def test_half_a_sample_is_reported_and_does_not_shift_what_follows() -> None:
    source = PcmInput(AudioFormat(Encoding.PCM_S16LE, 16_000))
    assert source.push(b"\x00\x40\x00").tolist() == [0.5]
    tail, leftover = source.flush()
    assert (tail.tolist(), leftover) == ([], 1)
    assert source.push(b"\x00\x40").tolist() == [0.5]


@pytest.mark.parametrize("sessions", [8])
def test_sessions_in_threads_do_not_mix(sessions: int) -> None:
    audio_format = AudioFormat(Encoding.MULAW, 8000)

    def listen(hertz: int) -> Floats:
        tone = 0.5 * np.sin(2 * np.pi * hertz * np.arange(8000) / 8000).astype(np.float32)
        data = audio_format.encode(tone)
        return heard(audio_format, [data[at : at + 80] for at in range(0, 8000, 80)])[0]

    tones = [200 + 100 * number for number in range(sessions)]
    with ThreadPoolExecutor(sessions) as pool:
        together = list(pool.map(listen, tones))
    for hertz, samples in zip(tones, together, strict=True):
        assert np.array_equal(samples, listen(hertz))
        assert int(np.abs(np.fft.rfft(samples)).argmax()) == hertz
