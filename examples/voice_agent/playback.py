"""What the caller has heard of what was sent: by the clock, put right by marks. Pure.

All utterances lie on one timeline of milliseconds, in the order in which they were sent.
"""

from collections import deque
from dataclasses import dataclass


@dataclass(slots=True)
class _Piece:
    """A stretch of one utterance on the timeline."""

    utterance: int
    start: float
    """On the timeline, ms."""
    offset: float
    """In the utterance, ms."""
    length: float


class Playback:
    """Positions of the playback. Times are seconds, lengths milliseconds."""

    def __init__(self) -> None:
        self._sent = 0.0
        self._position = 0.0
        """At `_at`."""
        self._at = 0.0
        self._dry_at = 0.0
        self._paused = False
        self._pieces: deque[_Piece] = deque()
        """Those that are not wholly heard, and a few that are."""
        self._sent_of: dict[int, float] = {}

    @property
    def paused(self) -> bool:
        return self._paused

    @property
    def dry_at(self) -> float:
        """When the last of what was sent had been heard; of account while nothing remains."""
        return self._dry_at

    def position_ms(self, now: float) -> float:
        """On the timeline."""
        self._go_to(now)
        return self._position

    def sent(self, now: float, utterance: int, ms: float) -> None:
        """`ms` more of an utterance were handed over."""
        self._go_to(now)
        offset = self._sent_of.get(utterance, 0.0)
        last = self._pieces[-1] if self._pieces else None
        if last is not None and last.utterance == utterance:
            last.length += ms
        else:
            self._pieces.append(_Piece(utterance, self._sent, offset, ms))
        self._sent_of[utterance] = offset + ms
        self._sent += ms

    def marked(self, now: float, utterance: int, ms: float) -> None:
        """The transport says that an utterance was played up to here."""
        self._go_to(now)
        for piece in self._pieces:
            inside = ms - piece.offset
            if piece.utterance == utterance and 0 <= inside <= piece.length:
                self._position = piece.start + inside
                self._dry_at = self._at
                return

    def pause(self, now: float) -> None:
        self._go_to(now)
        self._paused = True

    def resume(self, now: float) -> None:
        self._go_to(now)
        self._paused = False

    def flush(self, now: float) -> None:
        """What has not been heard will not be."""
        self._go_to(now)
        self._paused = False
        self._sent = self._position
        self._dry_at = self._at
        self._pieces.clear()
        self._sent_of.clear()

    def heard_ms(self, now: float, utterance: int) -> float:
        """How much of an utterance has been heard."""
        self._go_to(now)
        heard = 0.0
        for piece in self._pieces:
            if piece.utterance == utterance:
                inside = min(piece.length, self._position - piece.start)
                if inside > 0:
                    heard = piece.offset + inside
        return heard

    def remaining_ms(self, now: float) -> float:
        """Sent and not heard yet."""
        self._go_to(now)
        return self._sent - self._position

    def forget(self, utterance: int) -> None:
        """It is done with."""
        self._pieces = deque(piece for piece in self._pieces if piece.utterance != utterance)
        self._sent_of.pop(utterance, None)

    def _go_to(self, now: float) -> None:
        if not self._paused:
            passed = max(0.0, now - self._at) * 1000
            left = self._sent - self._position
            if 0 < left <= passed:
                self._dry_at = self._at + left / 1000
            self._position += min(left, passed)
        self._at = max(self._at, now)
