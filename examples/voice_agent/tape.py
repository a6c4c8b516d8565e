"""The agent's audio for a recording: kept until it was heard, forgotten when it never will be."""

from collections import deque
from collections.abc import Callable


class Tape:
    """Follows the playback's timeline. Lengths are ms of audio, times seconds."""

    def __init__(self, bytes_per_ms: float, record: Callable[[bytes, float], None]) -> None:
        self._bytes_per_ms = bytes_per_ms
        self._record = record
        self._pieces: deque[bytes] = deque()
        self._start = 0.0
        """Of the first piece, on the timeline."""

    def sent(self, audio: bytes) -> None:
        self._pieces.append(audio)

    def heard(self, now: float, position_ms: float) -> None:
        """The playback has come this far; pieces are recorded whole."""
        while self._pieces:
            end = self._start + len(self._pieces[0]) / self._bytes_per_ms
            if end > position_ms:
                return
            self._record(self._pieces.popleft(), now - (position_ms - self._start) / 1000)
            self._start = end

    def cut(self, now: float, position_ms: float) -> None:
        """What has not been heard by now was flushed."""
        self.heard(now, position_ms)
        if self._pieces:
            heard = int((position_ms - self._start) * self._bytes_per_ms) // 2 * 2
            if heard > 0:
                at_s = now - (position_ms - self._start) / 1000
                self._record(self._pieces[0][:heard], at_s)
        self._pieces.clear()
        self._start = position_ms
