"""When speech must end: a budget from the text's length, and signs that the model has lost its way.

Pure: numpy only.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import numpy as np
import numpy.typing as npt

TOKENS_PER_SECOND = 25
MOST_TOKENS = 1000
"""Of one request: 40 s."""


class Verdict(Enum):
    """What the next token may be."""

    ANY = "any"
    NOT_THE_END = "not the end"
    THE_END = "the end"


@dataclass(frozen=True, slots=True)
class TokenBudget:
    """The longest speech that a text is given; the model sometimes never stops by itself."""

    start_s: float = 2.0
    character_s: float = 0.15
    """Twice as long as people take."""
    ideograph_s: float = 0.5
    """For a character that is a syllable or more (Chinese, Japanese, Korean)."""

    def tokens(self, text: str) -> int:
        syllables = sum(
            "\u3040" <= char <= "\u9fff" or "\uac00" <= char <= "\ud7af" for char in text
        )
        others = len(text) - syllables
        seconds = self.start_s + others * self.character_s + syllables * self.ideograph_s
        return min(MOST_TOKENS, max(1, round(seconds * TOKENS_PER_SECOND)))


class Guard(Protocol):
    """Watches one request."""

    def judge(self, attention: npt.NDArray[np.float32], last_token: int) -> Verdict:
        """Before a token is drawn.

        Args:
            attention: [text tokens] of the aligned heads at the latest position.
            last_token: the one at that position.
        """
        ...


class RepeatGuard:
    """For the English model, which the library leaves alone: ends a voice that is stuck."""

    _SPAN = 15
    _DISTINCT = 2

    def __init__(self) -> None:
        self._last: list[int] = []

    def judge(self, attention: npt.NDArray[np.float32], last_token: int) -> Verdict:
        self._last = [*self._last[1 - self._SPAN :], last_token]
        stuck = len(self._last) == self._SPAN and len(set(self._last)) <= self._DISTINCT
        return Verdict.THE_END if stuck else Verdict.ANY


class AlignmentGuard:
    """For the multilingual model: the rules of the library's `AlignmentStreamAnalyzer`.

    It does not let the voice end before the text is said, and ends it when the last words last too
    long, when it returns to earlier words afterwards, or when a token comes twice in a row.

    Args:
        text_tokens: of the prompt, start and end included.
    """

    _LAST = 3
    """Tokens at the end that count as the end."""
    _EARLIER = 5
    """Before these many last tokens the voice must not be once it has been at the end."""
    _TOO_LONG = 5.0
    """Frames' worth of attention (200 ms)."""

    def __init__(self, text_tokens: int) -> None:
        self._count = text_tokens
        self._frame = 0
        self._position = 0
        self._complete = False
        self._tail = np.zeros(min(self._LAST, text_tokens))
        self._back = 0.0
        self._previous: int | None = None

    def judge(self, attention: npt.NDArray[np.float32], last_token: int) -> Verdict:
        row = np.where(np.arange(self._count) <= self._frame, attention, 0.0)
        self._frame += 1
        at = int(row.argmax())
        self._follow(row, at)
        repeated = self._frame > 2 and last_token == self._previous
        self._previous = last_token
        if repeated or self._tail.max() >= self._TOO_LONG or self._back > self._TOO_LONG:
            return Verdict.THE_END
        if self._count > self._EARLIER and at < self._count - self._LAST:
            return Verdict.NOT_THE_END
        return Verdict.ANY

    def _follow(self, row: npt.NDArray[np.float64], at: int) -> None:
        if self._complete:
            self._tail += row[-self._LAST :]
            self._back += float(row[: -self._EARLIER].max(initial=0.0))
        if -4 < at - self._position < 7:
            self._position = at
        self._complete = self._complete or self._position >= self._count - self._LAST
