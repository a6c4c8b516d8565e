import numpy as np
import pytest

from services.bench.wire import Wire
from services.shared.audio.pcm import AudioFormat, Encoding, Floats


def _tone(seconds: float) -> Floats:
    times = np.arange(round(seconds * 16_000)) / 16_000
    return (0.5 * np.sin(2 * np.pi * 440 * times)).astype(np.float32)


def test_sixteen_bits_at_the_same_rate_arrive_as_they_left() -> None:
    wire = Wire(AudioFormat(Encoding.PCM_S16LE, 16_000))
    samples = _tone(0.3)
    assert len(wire.encode(samples)) == 2 * len(samples)
    assert np.abs(wire.heard(samples) - samples).max() <= 0.5 / 32768


def test_phone_audio_is_half_the_samples_and_still_the_same_tone() -> None:
    wire = Wire(AudioFormat(Encoding.MULAW, 8000))
    samples = _tone(0.5)
    assert len(wire.encode(samples)) == 4000
    heard = wire.heard(samples)
    assert len(heard) == len(samples)
    spectrum = np.abs(np.fft.rfft(heard)) / len(heard) * 2  # bins of 2 Hz
    assert spectrum[220] == pytest.approx(0.5, rel=0.05)
    assert np.delete(spectrum, range(215, 226)).max() < 0.02


@pytest.mark.parametrize("encoding", list(Encoding))
def test_line_noise_is_as_quiet_as_asked(encoding: Encoding) -> None:
    wire = Wire(AudioFormat(encoding, 8000))
    data = wire.noise(8000, -50.0, seed=3)
    level = np.sqrt(np.mean(np.square(wire.format.decode(data))))
    assert 20 * np.log10(level) == pytest.approx(-50, abs=1.5)
    assert data == wire.noise(8000, -50.0, seed=3) != wire.noise(8000, -50.0, seed=4)
