"""When words are heard, from where the language model looks in the text while it speaks.

A few heads of T3 follow the text; the library's alignment analyser reads the same ones. A word
begins when their attention, which may only move on, comes to its first token. A token lasts 40 ms
and the attention may run ahead by one or two, so times are expected to be right to about 100 ms;
with the real weights, which were not at hand, this has not been measured.

Pure: numpy only.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.tts.engines.base import WordTime

_REACH = 8
"""Text tokens that the voice may move on within a step; farther away it looks at something else."""


_LENGTHENED = 1.5
"""How much longer than the others the last word may be, which ends a sentence."""


@dataclass(frozen=True, slots=True)
class TimedWord:
    """A word that is heard."""

    text: str
    """As written."""
    first: int
    """Its first text token in the prompt's text."""


class WordClock:
    """Tells the words of one request as their audio comes.

    Args:
        words: in order.
    """

    def __init__(self, words: Sequence[TimedWord]) -> None:
        self._words = words
        self._length = 0
        """Of the text, in tokens."""
        self._position = 0
        self._candidate = 0
        self._starts: list[int] = []
        """For the words that have begun: the speech token with which they did."""
        self._heard = 0
        """Speech tokens seen."""
        self._told = 0
        self._until_ms = 0
        """End of the last word told."""

    def observe(self, attention: npt.NDArray[np.float32]) -> None:
        """The next speech token; `attention` is over the text's tokens."""
        self._length = len(attention)
        near = attention[self._position : self._position + _REACH]
        at = self._position + int(near.argmax()) if len(near) else self._position
        # A single look ahead is not yet speech: two tokens must agree.
        self._position = max(self._position, min(at, self._candidate))
        self._candidate = at
        while len(self._starts) < len(self._words):
            if self._words[len(self._starts)].first > self._position:
                break
            self._starts.append(max(0, self._heard - 1))
        self._heard += 1

    def begun(
        self, from_ms: int, until_ms: int, token_ms: float, *, final: bool
    ) -> tuple[WordTime, ...]:
        """The words that begin in a piece of audio.

        Args:
            from_ms: where the piece begins.
            until_ms: where it ends.
            token_ms: how long a speech token is heard.
            final: it is the last piece, and has all words that are left.
        """
        starts = [round(start * token_ms) for start in self._starts[self._told :]]
        if final:
            count = len(self._words) - self._told
            starts = _spread(starts, count, max(from_ms, self._until_ms), until_ms)
        else:
            count = sum(start < until_ms for start in starts)
        begun: list[WordTime] = []
        for number in range(count):
            word = self._words[self._told + number]
            start = max(starts[number], from_ms, self._until_ms)
            following = starts[number + 1] if number + 1 < len(starts) else None
            limit = until_ms if final else None
            end = self._end(start, following, token_ms, limit)
            if not final and start >= until_ms:
                count = number
                break
            begun.append(WordTime(word.text, start, end))
            self._until_ms = end
        self._told += count
        return tuple(begun)

    def _end(self, start: int, following: int | None, token_ms: float, limit: int | None) -> int:
        """Words end where the next one begins, at least as far as is known."""
        if following is not None:
            return max(start + 1, following)
        if limit is not None:
            return max(start + 1, min(limit, self._last_end(start)))
        return max(start + 1, int((self._heard - 1) * token_ms))

    def _last_end(self, start: int) -> int:
        """The last word is spoken about as fast as the others; after it there may be silence."""
        first = self._words[-1].first
        if len(self._words) == 1 or not start:
            return sys.maxsize  # nothing to compare it with
        return start + round(_LENGTHENED * start / first * (self._length - first))


def _spread(starts: list[int], count: int, begin: int, end: int) -> list[int]:
    """Starts of all `count` words between `begin` and `end`, a millisecond apart at least.

    Words that the attention never came to share what is left evenly.
    """
    known = [max(start, begin) for start in starts]
    missing = count - len(known)
    last = known[-1] if known else begin
    if missing:
        step = max(0, end - last) / (missing + (1 if known else 0))
        offset = 1 if known else 0
        known += [round(last + step * (number + offset)) for number in range(missing)]
    for number in range(1, count):
        known[number] = max(known[number], known[number - 1] + 1)
    for number in range(count - 1, -1, -1):
        known[number] = min(known[number], end - (count - number))
    return known
