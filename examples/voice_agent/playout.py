"""What is to be played, as frames of one length, with the marks between. Sans-I/O."""

from collections import deque
from dataclasses import dataclass, field

FRAME_MS = 20
FRAME_S = FRAME_MS / 1000


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame to be played, and the marks that are reached when it has been."""

    data: bytes = field(repr=False)
    """Empty when there is nothing to be played before the marks."""
    marks: tuple[str, ...] = ()


class PlayoutBuffer:
    """Bytes in, in any portions; whole frames out.

    A mark belongs to the frame that holds the last byte before it. Audio that does not fill a frame
    waits for more; who takes it anyway gets it filled up with silence. So speech that is sent in
    odd portions is played without a gap.

    Args:
        frame_bytes: of 20 ms.
        silence: one sample of it.
    """

    def __init__(self, frame_bytes: int, silence: bytes) -> None:
        if frame_bytes % len(silence):
            raise ValueError(f"a frame of {frame_bytes} bytes has no whole samples")
        self.frame_bytes = frame_bytes
        self.silent_frame = silence * (frame_bytes // len(silence))
        self._waiting = bytearray()
        self._taken = 0
        """Bytes taken since the beginning."""
        self._marks: deque[tuple[int, str]] = deque()
        """With the count of bytes pushed before each."""

    def push(self, data: bytes) -> None:
        self._waiting += data

    def mark(self, name: str) -> None:
        self._marks.append((self._taken + len(self._waiting), name))

    def clear(self) -> None:
        """Forget what is left, marks included."""
        self._waiting.clear()
        self._marks.clear()

    @property
    def waiting_bytes(self) -> int:
        return len(self._waiting)

    @property
    def has_whole_frame(self) -> bool:
        return len(self._waiting) >= self.frame_bytes

    @property
    def is_empty(self) -> bool:
        """Neither audio nor marks."""
        return not self._waiting and not self._marks

    def take(self, *, pad: bool) -> Frame | None:
        """The next frame; None when there is none.

        Args:
            pad: an incomplete last frame now, filled up with silence, rather than more audio later.
        """
        if marks := self._reached():
            return Frame(b"", marks)
        if not self._waiting or not (self.has_whole_frame or pad):
            return None
        data = bytes(self._waiting[: self.frame_bytes])
        del self._waiting[: len(data)]
        self._taken += len(data)
        return Frame(data + self.silent_frame[len(data) :], self._reached())

    def _reached(self) -> tuple[str, ...]:
        reached = []
        while self._marks and self._marks[0][0] <= self._taken:
            reached.append(self._marks.popleft()[1])
        return tuple(reached)
