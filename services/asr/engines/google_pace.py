"""How fast audio may be sent to somebody who wants it in about real time. Pure."""


class Pace:
    """A token bucket of seconds of audio.

    Args:
        rate: seconds of audio a second, in the long run.
        burst_s: audio that may go at once after a rest.
    """

    def __init__(self, rate: float, burst_s: float) -> None:
        self._rate = rate
        self._burst_s = burst_s
        self._left_s = burst_s
        self._at: float | None = None

    def delay(self, seconds: float, now: float) -> float:
        """How long to wait before so much audio may go; it is counted as gone then."""
        if self._at is not None:
            self._left_s = min(self._burst_s, self._left_s + (now - self._at) * self._rate)
        self._at = now
        self._left_s -= seconds
        return max(0.0, -self._left_s / self._rate)
