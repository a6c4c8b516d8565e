"""Two streams of sound on one timeline: the caller on the left, the agent on the right. Pure.

Samples lie where they were heard. A stream's chunks follow one another without a seam as long as
their times agree within a tolerance: clocks and networks jitter, samples do not. A greater gap is
silence; what comes too late for its place follows what is there.
"""

from collections import deque

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.int16]

_TOLERANCE_S = 0.12
_LATE_S = 2.0
"""How long a side is waited for before silence takes its place."""
_SAMPLE = np.dtype("<i2")


class StereoTimeline:
    """Positions are samples since the recording began."""

    def __init__(self, sample_rate: int, began_s: float, *, max_s: float) -> None:
        self._rate = sample_rate
        self._began_s = began_s
        self._max = round(max_s * sample_rate)
        self._sides = (_Side(), _Side())
        self._given = 0

    @property
    def position(self) -> int:
        """Stereo samples that were taken."""
        return self._given

    @property
    def pending(self) -> int:
        """Samples that wait, of both sides."""
        return sum(side.end - self._given for side in self._sides if side.end > self._given)

    def caller(self, samples: Samples, ended_s: float) -> None:
        """Samples [n] whose end was heard then."""
        self._put(0, samples, ended_s - len(samples) / self._rate)

    def agent(self, samples: Samples, began_s: float) -> None:
        """Samples [n] whose beginning was heard then."""
        self._put(1, samples, began_s)

    def take(self, *, final: bool = False) -> bytes:
        """What is settled, interleaved, 16 bits little-endian; all of it when it is final."""
        ends = [side.end for side in self._sides]
        upto = max(ends) if final else max(min(ends), max(ends) - round(_LATE_S * self._rate))
        count = upto - self._given
        if count <= 0:
            return b""
        stereo = np.empty((count, 2), dtype=_SAMPLE)
        for channel, side in enumerate(self._sides):
            stereo[:, channel] = side.take(count)
        self._given = upto
        return stereo.tobytes()

    def _put(self, channel: int, samples: Samples, at_s: float) -> None:
        side = self._sides[channel]
        wanted = round((at_s - self._began_s) * self._rate)
        if wanted - side.end > _TOLERANCE_S * self._rate:
            side.add(np.zeros(min(wanted, self._max) - side.end, dtype=_SAMPLE))
        side.add(samples[: max(0, self._max - side.end)])


class _Side:
    def __init__(self) -> None:
        self.end = 0
        self._chunks: deque[Samples] = deque()
        self._waiting = 0

    def add(self, samples: Samples) -> None:
        if len(samples):
            self._chunks.append(samples)
            self._waiting += len(samples)
            self.end += len(samples)

    def take(self, count: int) -> Samples:
        """The next samples [count], with silence where there are none."""
        if self._waiting < count:
            self.add(np.zeros(count - self._waiting, dtype=_SAMPLE))
        taken: list[Samples] = []
        while count:
            chunk = self._chunks.popleft()
            if len(chunk) > count:
                self._chunks.appendleft(chunk[count:])
                chunk = chunk[:count]
            taken.append(chunk)
            count -= len(chunk)
            self._waiting -= len(chunk)
        return np.concatenate(taken)
