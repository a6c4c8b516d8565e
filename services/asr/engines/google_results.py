"""What Google's streams have said, joined into one text. Pure.

A long stretch of speech may take several streams, one after the other. Positions are milliseconds
from the first sample of the stretch, whichever stream told them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from services.asr.agreement import pieces_of
from services.asr.engines.base import Hypothesis, HypothesisWord

GUARD_MS = 500
"""A word that ends this close before a cut may be half a word: the next stream hears it again."""


@dataclass(frozen=True, slots=True)
class Result:
    """One portion of the audio, as Google understood it."""

    text: str
    final: bool
    end_ms: int
    """Up to where the portion goes."""
    language: str | None = None
    confidence: float | None = None
    words: tuple[HypothesisWord, ...] = ()


class Transcript:
    """Settled portions, and the newest guess at what follows them."""

    def __init__(self) -> None:
        self.stable = ""
        """The text of all settled portions: it only grows."""
        self.text = ""
        """With the guess; `stable` is a prefix of it."""
        self.covered_ms = 0
        """Up to here the portions are settled."""
        self._settled: list[Result] = []

    def take(self, results: Sequence[Result]) -> None:
        """One response: at most one settled portion, then guesses."""
        guess = ""
        for result in results:
            if result.final:
                self._settle(result)
            else:
                guess = joined(guess, result.text)
        self.text = joined(self.stable, guess)

    def take_last(self, results: Sequence[Result], cut_ms: int) -> None:
        """The last portions of a stream whose audio was cut at `cut_ms`, maybe inside a word.

        Words right before the cut are left to the next stream, which begins at `covered_ms`.
        """
        before_ms = self.covered_ms
        safe_ms = max(before_ms, cut_ms - GUARD_MS)
        said = [result for result in results if result.final and result.text.strip()]
        if not all(result.words for result in said):
            safe_ms = cut_ms  # nothing tells where the words are: they count as whole
        left = [word for result in said for word in result.words if word.end_ms > safe_ms]
        for result in said:
            self._settle(_before(result, safe_ms))
        if left:  # begin between two words, but not long before the first that is left
            between = (self._spoken_until() + left[0].start_ms) // 2
            safe_ms = max(between, left[0].start_ms - GUARD_MS)
        self.covered_ms = max(before_ms, safe_ms, self._spoken_until())

    def hypothesis(self) -> Hypothesis:
        """All that was understood; a guess that nothing followed is better than nothing."""
        sure = [(len(result.text), result.confidence) for result in self._settled]
        weights = sum(length for length, confidence in sure if confidence is not None)
        total = sum(length * confidence for length, confidence in sure if confidence is not None)
        languages = [result.language for result in self._settled if result.language]
        return Hypothesis(
            text=self.text,
            language=languages[-1] if languages else None,
            confidence=round(total / weights, 3) if weights else None,
            words=tuple(word for result in self._settled for word in result.words),
            suppressed=None if self.text else "no_speech",
        )

    def _settle(self, result: Result) -> None:
        self.covered_ms = max(self.covered_ms, result.end_ms)
        if result.text.strip():
            self.stable = joined(self.stable, result.text)
            self._settled.append(result)
        self.text = self.stable

    def _spoken_until(self) -> int:
        """The end of the last word that is settled."""
        words = self._settled[-1].words if self._settled else ()
        return words[-1].end_ms if words else 0


def joined(first: str, second: str) -> str:
    """Portions come with or without the space between them."""
    first, second = first.strip(), second.strip()
    if not first or not second:
        return first or second
    spaced = len(pieces_of(first[-1] + second[0])) == 1  # scripts without spaces are two pieces
    return f"{first} {second}" if spaced else first + second


def _before(result: Result, safe_ms: int) -> Result:
    """The words of a portion that end before `safe_ms`."""
    kept = tuple(word for word in result.words if word.end_ms <= safe_ms)
    if len(kept) == len(result.words):  # also when there are no words
        return replace(result, end_ms=min(result.end_ms, safe_ms))
    pieces = pieces_of(result.text)
    if len(pieces) == len(result.words):
        text = "".join(pieces[: len(kept)])
    else:
        text = ""
        for word in kept:
            text = joined(text, word.word)
    return replace(result, text=text, words=kept, end_ms=kept[-1].end_ms if kept else 0)
