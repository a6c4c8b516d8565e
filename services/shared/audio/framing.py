"""Cutting streams anew: chunks of any size in, whole samples and even frames out."""

import numpy as np
import numpy.typing as npt

from services.shared.audio.pcm import Floats


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


class Framer:
    """Cuts a stream of samples into frames of one size, for models that want exactly that."""

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f"a frame of {size} samples is none")
        self._size = size
        self._carry: Floats = np.zeros(0, dtype=np.float32)

    @property
    def pending(self) -> int:
        """Samples of an unfinished frame."""
        return len(self._carry)

    def push(self, samples: Floats) -> npt.NDArray[np.float32]:
        """The frames [k, size] that are complete; k may be 0."""
        joined = np.concatenate([self._carry, samples]) if len(self._carry) else samples
        whole = len(joined) - len(joined) % self._size
        # A copy: the caller may reuse its array, and a view would keep all of a long one alive.
        self._carry = joined[whole:].copy()
        return joined[:whole].reshape(-1, self._size)

    def flush(self) -> Floats:
        """The unfinished frame [n < size], not padded. The stream may begin anew."""
        left, self._carry = self._carry, np.zeros(0, dtype=np.float32)
        return left
