"""An engine's samples on their way to a client, whatever their pieces."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.shared.audio.pcm import AudioFormat, Encoding, Floats
from services.tts.output import AudioOutput
from tests.services.tts.client import tone_at

SOURCE_RATE = 22_050


def tone(hertz: float, samples: int) -> Floats:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(samples) / SOURCE_RATE)).astype(np.float32)


def convert(pieces: list[Floats], encoding: Encoding, rate: int) -> bytes:
    output = AudioOutput(SOURCE_RATE, encoding, rate)
    messages = [message for piece in pieces for message in output.push(piece)]
    return b"".join([*messages, *output.drain()])


@given(
    cuts=st.lists(st.integers(0, 6000), max_size=6),
    rate=st.sampled_from([8000, 16_000, 22_050, 24_000, 48_000]),
)
def test_the_pieces_leave_no_trace(cuts: list[int], rate: int) -> None:
    samples = tone(440, 6000)
    pieces = np.split(samples, sorted(cuts))
    cut = convert(pieces, Encoding.PCM_F32LE, rate)
    whole = convert([samples], Encoding.PCM_F32LE, rate)
    assert len(cut) == len(whole) == 4 * round(6000 * rate / SOURCE_RATE)
    np.testing.assert_allclose(
        np.frombuffer(cut, "<f4"), np.frombuffer(whole, "<f4"), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("encoding", list(Encoding))
def test_a_telephone_hears_the_tone_and_no_alias(encoding: Encoding) -> None:
    audio_format = AudioFormat(encoding, 8000)
    inside = audio_format.decode(convert([tone(1000, 22_050)], encoding, 8000))
    assert tone_at(inside, 8000) == pytest.approx(1000, abs=1)
    beyond = audio_format.decode(convert([tone(5000, 22_050)], encoding, 8000))
    assert np.abs(beyond[400:-400]).max() < 0.002


def test_after_a_drain_the_stream_goes_on() -> None:
    output = AudioOutput(SOURCE_RATE, Encoding.PCM_S16LE, 8000)
    first = b"".join(output.push(tone(440, 2205)) + output.drain())
    second = b"".join(output.push(tone(440, 4410)) + output.drain())
    assert len(first) == 2 * 800
    assert len(second) == 2 * 1600
    assert output.drain() == []


def test_what_exceeds_full_scale_is_clipped_and_not_wrapped() -> None:
    loud = convert([np.full(100, 1.5, np.float32)], Encoding.PCM_S16LE, SOURCE_RATE)
    assert set(np.frombuffer(loud, "<i2")) == {32_767}
