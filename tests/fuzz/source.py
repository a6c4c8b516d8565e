"""Bytes that decide what a fuzz input is: the same bytes, the same input."""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Source:
    """Draws choices from bytes; without any left every draw is the first, simplest choice.

    So an input is replayed from its bytes alone, fewer bytes give a smaller input, and a fuzzer
    that mutates bytes can drive every target.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def exhausted(self) -> bool:
        return self._at >= len(self._data)

    def take(self, most: int) -> bytes:
        """The next bytes as they are, `most` at most."""
        taken = self._data[self._at : self._at + most]
        self._at += len(taken)
        return taken

    def below(self, limit: int) -> int:
        """0 … limit - 1."""
        size = max(1, ((limit - 1).bit_length() + 7) // 8)
        return int.from_bytes(self.take(size), "little") % limit

    def between(self, least: int, most: int) -> int:
        return least + self.below(most - least + 1)

    def choice(self, options: Sequence[T]) -> T:
        return options[self.below(len(options))]

    def one_in(self, count: int) -> bool:
        """True once in `count` times; never when no bytes are left."""
        return self.below(count) == count - 1
