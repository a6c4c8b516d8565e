"""Cutting streams anew: chunks of any size in, whole samples out."""


class ByteAligner:
    """Carries the bytes of an unfinished sample over to the next chunk."""

    def __init__(self, frame_bytes: int) -> None:
        self._frame_bytes = frame_bytes
        self._carry = b""

    @property
    def pending(self) -> int:
        """Bytes of an unfinished sample."""
        return len(self._carry)

    def push(self, data: bytes) -> bytes:
        """The whole samples so far."""
        joined = self._carry + data if self._carry else data
        whole = len(joined) - len(joined) % self._frame_bytes
        self._carry = joined[whole:]
        return joined[:whole]

    def flush(self) -> int:
        """Give up the unfinished sample; tells how many bytes it had."""
        left, self._carry = len(self._carry), b""
        return left
