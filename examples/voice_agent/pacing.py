"""When audio is due: our own clock (RTP), and a guess of Asterisk's (WebSocket). Sans-I/O.

Times are seconds of one monotonic clock, whichever the caller reads.
"""

CATCH_UP = 1.5
"""Late frames follow each other at most so much faster than real time: a burst would overrun the
caller's jitter buffer, of which then only the tail is heard."""


class FrameClock:
    """Deadlines of frames that are sent at the pace of speech.

    A deadline does not depend on when the last frame really left, so that delays do not add up.
    After a delay of more than `max_late_s` the clock starts anew.
    """

    def __init__(self, frame_s: float, now: float, *, max_late_s: float = 0.2) -> None:
        self._frame_s = frame_s
        self._max_late_s = max_late_s
        self._due = now
        self._not_before = now

    @property
    def next_at(self) -> float:
        return max(self._due, self._not_before)

    def sent(self, now: float) -> int:
        """A frame has been sent.

        Returns:
            how many frames the clock has given up: by so many the sender's timestamp jumps.
        """
        self._not_before = now + self._frame_s / CATCH_UP
        self._due += self._frame_s
        late = now - self._due
        if late <= self._max_late_s:
            return 0
        skipped = int(late / self._frame_s)
        self._due += skipped * self._frame_s
        return skipped


class QueueClock:
    """How much of what we sent Asterisk has not played yet.

    Asterisk plays by its own timer and tells its queue's length only when asked. Without asking,
    the length follows from what was sent and when; with each answer the guess is put right. Where
    nothing puts it right a slow drift becomes latency that never goes away.
    """

    TOLERANCE_S = 0.06
    """An answer that differs by less is as good as the guess: it has been under way."""

    def __init__(self, frame_s: float) -> None:
        self._frame_s = frame_s
        self._empty_at = 0.0
        self._held_s: float | None = None

    def lead_s(self, now: float) -> float:
        """Seconds of audio in the queue."""
        return self._held_s if self._held_s is not None else max(0.0, self._empty_at - now)

    def sent(self, now: float, frames: int) -> None:
        self._set(now, self.lead_s(now) + frames * self._frame_s)

    def pause(self, now: float) -> None:
        if self._held_s is None:
            self._held_s = self.lead_s(now)

    def resume(self, now: float) -> None:
        if self._held_s is not None:
            held, self._held_s = self._held_s, None
            self._empty_at = now + held

    def flush(self, now: float) -> None:
        self._held_s = None
        self._empty_at = now

    def observed(self, now: float, frames: int) -> None:
        """Asterisk's own word."""
        if abs(frames * self._frame_s - self.lead_s(now)) > self.TOLERANCE_S:
            self._set(now, frames * self._frame_s)

    def _set(self, now: float, lead_s: float) -> None:
        if self._held_s is not None:
            self._held_s = lead_s
        else:
            self._empty_at = now + lead_s
