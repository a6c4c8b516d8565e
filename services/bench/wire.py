"""How recordings travel to the service: encoding and sample rate, e.g. µ-law, 8 kHz for phones."""

from dataclasses import dataclass

import numpy as np

from services.bench.corpus import RATE
from services.shared.audio.pcm import AudioFormat, Floats
from services.shared.audio.resample import StreamResampler


@dataclass(frozen=True, slots=True)
class Wire:
    """Mono audio in one format."""

    format: AudioFormat

    def encode(self, samples: Floats) -> bytes:
        """Samples [n] at 16 kHz as a caller sends them."""
        return self.format.encode(_resampled(samples, RATE, self.format.sample_rate))

    def heard(self, samples: Floats) -> Floats:
        """What is left of samples [n] at 16 kHz after the way there: [m] at 16 kHz."""
        arrived = self.format.decode(self.encode(samples))
        return _resampled(arrived, self.format.sample_rate, RATE)

    def noise(self, samples: int, level_db: float, seed: int) -> bytes:
        """White noise [samples] at the wire's rate, `level_db` below full scale."""
        noise = np.random.default_rng(seed).normal(0.0, 10 ** (level_db / 20), samples)
        return self.format.encode(noise.astype(np.float32))


def _resampled(samples: Floats, rate_in: int, rate_out: int) -> Floats:
    resampler = StreamResampler(rate_in, rate_out)
    return np.concatenate([resampler.push(samples), resampler.flush()])
