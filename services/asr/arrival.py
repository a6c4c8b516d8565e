"""When a client's audio should come, and how much of it is missing. Pure; times are seconds."""

_JITTER_S = 0.25
"""Audio that is so late is taken for silence."""
_LONGEST_CHUNK_S = 1.0
"""Audio of a client that sends so much at a time is late only after as much again."""


class Arrival:
    """Some clients send nothing in silence: what does not come in time is silence, too."""

    def __init__(self, frame_s: float) -> None:
        self._frame_s = frame_s
        self._quiet_since: float | None = None
        """Wall clock up to which audio, or silence in its place, has been heard."""
        self._heard_at = 0.0
        self._due_at = 0.0
        """Wall clock when the next audio should come from a client that sends in real time."""

    def heard(self, received_s: float, now: float) -> None:
        """So much audio has come.

        A chunk was recorded before it was sent: the next is due its length later. Who is ahead of
        real time (a burst after a stall, a file) falls back to it by and by.
        """
        ahead = max(0.0, self._due_at - now - (now - self._heard_at) / 2)
        self._due_at = now + min(ahead + received_s, _LONGEST_CHUNK_S)
        self._heard_at = self._quiet_since = now

    def excuse(self, now: float) -> None:
        """The client was away and has its audio still to send: its time begins anew."""
        if self._quiet_since is not None:
            self._heard_at = self._quiet_since = now
            self._due_at = now + _LONGEST_CHUNK_S

    def misses_frame(self, now: float) -> bool:
        """One more frame should have come by now; ask until there is none."""
        if self._quiet_since is None or now - self._due_at < _JITTER_S:
            return False
        if now - self._quiet_since < _JITTER_S + self._frame_s:
            return False
        self._quiet_since += self._frame_s
        return True
