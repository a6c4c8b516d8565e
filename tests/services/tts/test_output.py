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


@pytest.mark.parametrize("encoding", [Encoding.MULAW, Encoding.ALAW])
@pytest.mark.parametrize("source_rate", [16_000, 22_050, 24_000, 48_000])
def test_a_sweep_reaches_a_telephone_without_images_or_holes(
    encoding: Encoding, source_rate: int
) -> None:
    """100 Hz to 7.9 kHz in 4 s: flat to 3.4 kHz, nothing but companding noise from 4.2 kHz on."""
    seconds, low, high = 4.0, 100.0, 7900.0
    at = np.arange(int(seconds * source_rate)) / source_rate
    phase = 2 * np.pi * (low * at + (high - low) * at**2 / (2 * seconds))
    output = AudioOutput(source_rate, encoding, 8000)
    sweep = (0.5 * np.sin(phase)).astype(np.float32)
    messages = [message for piece in np.array_split(sweep, 37) for message in output.push(piece)]
    heard = AudioFormat(encoding, 8000).decode(b"".join([*messages, *output.drain()]))

    def level(from_hz: float, to_hz: float) -> float:
        """Of the stretch in which the sweep passes these frequencies, in dB below the sine."""
        begin, end = (int((hz - low) / (high - low) * seconds * 8000) for hz in (from_hz, to_hz))
        rms = float(np.sqrt(np.mean(heard[begin:end].astype(np.float64) ** 2)))
        return float(20 * np.log10(max(rms, 1e-9) / (0.5 / 2**0.5)))

    for hz in range(200, 3400, 200):
        assert abs(level(hz, hz + 200)) < 0.6, hz
    assert level(4200, 7800) < -50


@pytest.mark.parametrize("rate", [8000, 11_025, 16_000, 22_050, 48_000])
def test_paced_audio_comes_in_messages_of_20_ms(rate: int) -> None:
    whole = convert([tone(440, 22_050)], Encoding.PCM_S16LE, rate)
    output = AudioOutput(SOURCE_RATE, Encoding.PCM_S16LE, rate, framed=True)
    pieces = np.array_split(tone(440, 22_050), 33)
    messages = [message for piece in pieces for message in output.push(piece)]
    last = output.drain()
    assert {len(message) for message in messages} == {2 * round(rate / 50)}
    assert b"".join([*messages, *last]) == whole
    assert len([*messages, *last][-1]) <= 2 * round(rate / 50)


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
