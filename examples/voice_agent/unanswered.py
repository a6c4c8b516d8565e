"""What the caller said that no final has covered yet: the next session hears it again. Sans I/O.

A session that is lost with its service takes the open turn with it. The audio of that turn is kept
here until the service has said all of it, so that another session can begin with it.
"""

from collections import deque

_PRE_ROLL_MS = 1000.0
"""Kept while nobody speaks: the beginning of a turn is noticed late."""
_LONGEST_MS = 20_000.0
"""Of a turn; the oldest goes first."""


class Unanswered:
    """Times are the session's: milliseconds of audio since its beginning."""

    def __init__(self, bytes_per_ms: float) -> None:
        self._bytes_per_ms = bytes_per_ms
        self._chunks: deque[bytes] = deque()
        self._begin_ms = 0.0
        """Of the first chunk."""
        self._end_ms = 0.0
        self._turns_ms: deque[float] = deque(maxlen=16)
        """Where turns begin that no final has ended: one may begin before the last is answered."""

    def sent(self, audio: bytes) -> None:
        """The session was given this."""
        self._chunks.append(audio)
        self._end_ms += len(audio) / self._bytes_per_ms
        wanted = self._end_ms - _PRE_ROLL_MS
        if self._turns_ms:
            wanted = max(min(wanted, self._turns_ms[0] - _PRE_ROLL_MS), self._end_ms - _LONGEST_MS)
        self._forget_until(wanted)

    def speech_started(self, start_ms: float) -> None:
        self._turns_ms.append(start_ms)

    def turn_ended(self, end_ms: float) -> None:
        """A final covers all until there."""
        if self._turns_ms and self._turns_ms[0] <= end_ms:
            self._turns_ms.popleft()
        self._forget_until(end_ms)

    def take(self) -> tuple[bytes, ...]:
        """All of it, for a new session, whose begin is time 0."""
        audio = tuple(self._chunks)
        self._chunks.clear()
        self._begin_ms = self._end_ms = 0.0
        self._turns_ms.clear()
        return audio

    def _forget_until(self, wanted_ms: float) -> None:
        while self._chunks:
            length_ms = len(self._chunks[0]) / self._bytes_per_ms
            if self._begin_ms + length_ms > wanted_ms:
                return
            self._chunks.popleft()
            self._begin_ms += length_ms
