"""The recent audio of a session, addressed by absolute sample number. Pure."""

import numpy as np

from services.asr.vad.base import Floats


class AudioHistory:
    """Appends at the end, forgets at the front; keeps what lies between in one array."""

    def __init__(self) -> None:
        self._samples: Floats = np.zeros(1 << 15, dtype=np.float32)
        self._start = 0
        self._length = 0

    @property
    def start(self) -> int:
        """First sample still held."""
        return self._start

    @property
    def end(self) -> int:
        """One past the last sample: how many the session has heard."""
        return self._start + self._length

    def append(self, samples: Floats) -> None:
        needed = self._length + len(samples)
        if needed > len(self._samples):
            grown = np.zeros(max(needed, 2 * len(self._samples)), dtype=np.float32)
            grown[: self._length] = self._samples[: self._length]
            self._samples = grown
        self._samples[self._length : needed] = samples
        self._length = needed

    def slice(self, start: int, end: int) -> Floats:
        """A copy of the samples [start, end) that are held: not forgotten, and heard already."""
        first = max(0, start - self._start)
        last = min(self._length, end - self._start)
        return self._samples[first : max(first, last)].copy()

    def release(self) -> None:
        """Give the memory back: nothing is asked for any more."""
        self._start, self._length = self.end, 0
        self._samples = np.zeros(0, dtype=np.float32)

    def forget(self, before: int) -> None:
        """Drop samples before `before`; moves memory only when a lot is freed."""
        drop = min(before - self._start, self._length)
        if drop < 1 << 14 or drop < self._length // 2:
            return
        keep = self._length - drop
        kept = self._samples[drop : self._length].copy()
        if len(self._samples) > 1 << 17 and keep < len(self._samples) // 4:
            self._samples = np.zeros(max(1 << 15, 2 * keep), dtype=np.float32)
        self._samples[:keep] = kept
        self._start += drop
        self._length = keep
