"""Word errors after normalisation, the field's way: whisper-normalizer, then jiwer's alignment."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WordErrors:
    """Counts over one or many utterances; they add up."""

    words: int = 0
    """Of the reference."""
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    @property
    def errors(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Corpus-level WER: errors over words (not the mean of utterances' rates)."""
        return self.errors / self.words if self.words else float(self.errors > 0)

    def __add__(self, other: "WordErrors") -> "WordErrors":
        return WordErrors(
            self.words + other.words,
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
        )


class Scorer:
    """Compares texts; keeps one normaliser for English and one for all other languages."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            # Its docstrings have invalid escapes, which Python tells once, when it compiles them.
            warnings.simplefilter("ignore")
            from whisper_normalizer.basic import BasicTextNormalizer
            from whisper_normalizer.english import EnglishTextNormalizer

        self._english: Callable[[str], str] = EnglishTextNormalizer()
        self._other: Callable[[str], str] = BasicTextNormalizer()

    def normalise(self, text: str, language: str) -> str:
        english = language.split("-")[0] == "en"
        return " ".join((self._english if english else self._other)(text).split())

    def score(self, reference: str, text: str, language: str) -> WordErrors:
        return count_errors(self.normalise(reference, language), self.normalise(text, language))


def count_errors(expected: str, heard: str) -> WordErrors:
    """Compare texts whose words are divided by spaces, as they are."""
    import jiwer

    found = jiwer.process_words(expected, heard)
    return WordErrors(
        words=len(expected.split()),
        substitutions=found.substitutions,
        deletions=found.deletions,
        insertions=found.insertions,
    )
