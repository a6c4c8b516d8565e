"""When audio is heard, and how much of it may be sent before.

Pure: every method takes `now` (seconds, monotonic). One clock a listener: whatever it is sent, of
however many contexts, it plays one after the other.
"""

import math

from services.tts.engines.base import SynthesisRequest

FRAME_S = 0.02
"""What telephones send at a time."""
_EPSILON = 1e-9
"""Below a nanosecond times are equal."""
_S_PER_CHARACTER = 0.05
"""Of fast English: what is taken for shorter than it is comes too early, which is no harm."""


def expected_s(request: SynthesisRequest) -> float:
    """How long the audio of `request` will be, roughly."""
    return len(request.text) * _S_PER_CHARACTER / request.speed


class PlaybackClock:
    """When a listener who plays in real time runs out of what was sent."""

    def __init__(self) -> None:
        self._until = -math.inf

    @property
    def until(self) -> float:
        """The end of what was sent; long ago when nothing was."""
        return self._until

    def playing(self, now: float) -> bool:
        """The listener has not heard all yet."""
        return now < self._until

    def sent(self, seconds: float, now: float) -> None:
        """So much audio left; it is heard after what is still being played."""
        self._until = max(self._until, now) + seconds

    def delayed(self, seconds: float, now: float) -> None:
        """The listener itself did not take what was sent for so long."""
        if self._until > now - seconds:
            self._until += seconds

    def stopped(self, now: float) -> None:
        """The listener dropped what it had not heard yet."""
        self._until = min(self._until, now)


class Pacer:
    """Lets audio go in real time, at most `lead_s` ahead of the listener.

    After a stall it catches up at once, but never beyond the lead; after an underrun the listener's
    time goes on where the audio does, so nothing is sped up or dropped and no error accumulates.
    """

    def __init__(self, frame_s: float = FRAME_S) -> None:
        self._frame_s = frame_s
        self._clock = PlaybackClock()

    def room(self, now: float, sample_rate: int, lead_s: float) -> int:
        """How many samples may be sent now: whole frames."""
        ahead = max(0.0, self._clock.until - now)
        frames = math.floor((lead_s - ahead) / self._frame_s + _EPSILON)
        return max(0, frames) * round(self._frame_s * sample_rate)

    def next_at(self, lead_s: float) -> float:
        """When there is room for a frame."""
        return self._clock.until + self._frame_s - lead_s

    def sent(self, samples: int, sample_rate: int, now: float) -> None:
        """So many samples left."""
        self._clock.sent(samples / sample_rate, now)

    def stopped(self, now: float) -> None:
        """A cancel: the listener drops what it has not played."""
        self._clock.stopped(now)
