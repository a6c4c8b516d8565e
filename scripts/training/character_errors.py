"""Character errors between what should be said and what was heard. Pure but for jiwer."""

from dataclasses import dataclass

from scripts.training.texts import TrainingReader


@dataclass(frozen=True, slots=True)
class CharacterErrors:
    """Counts over one or many texts; they add up."""

    characters: int = 0
    """Of the reference, spaces included."""
    errors: int = 0
    """Substitutions, deletions and insertions."""

    def __add__(self, other: "CharacterErrors") -> "CharacterErrors":
        return CharacterErrors(self.characters + other.characters, self.errors + other.errors)

    @property
    def rate(self) -> float:
        """Over all characters (not the mean of the texts' rates)."""
        return self.errors / self.characters if self.characters else float(self.errors > 0)


class CharacterScorer:
    """Compares texts as they sound: in words, small letters, without punctuation."""

    def __init__(self) -> None:
        self._reader = TrainingReader()

    def plain(self, text: str) -> str:
        _, spoken = self._reader.read(text)
        only = "".join(char if char.isalnum() else " " for char in spoken.lower())
        return " ".join(only.split())

    def score(self, expected: str, heard: str) -> CharacterErrors:
        reference, hypothesis = self.plain(expected), self.plain(heard)
        if not reference:
            return CharacterErrors(0, len(hypothesis))
        import jiwer

        found = jiwer.process_characters(reference, hypothesis)
        errors = found.substitutions + found.deletions + found.insertions
        return CharacterErrors(len(reference), errors)
