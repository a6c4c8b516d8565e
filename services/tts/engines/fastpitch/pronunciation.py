"""Words to phonemes by a model's own dictionary, as NeMo's G2P does it. Pure.

A word that the dictionary lacks, or says in several ways, is given to the model letter by letter:
it was trained to read those, too.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

_ENGLISH_WORD = re.compile(r"[A-Za-z](?:[A-Za-z'-]*[A-Za-z])?")
_LETTER = (
    "A-Za-zÀ-ÖØ-öø-ÿ\u0900-\u0963\u0966-\u097f\u0980-\u09ff\u0a80-\u0aff\u0b80-\u0cff"
    "\uac00-\ud7a3\u1100-\u11ff\u3130-\u318f"
)
_ANY_WORD = re.compile(rf"[{_LETTER}](?:[{_LETTER}'-]*[{_LETTER}])?")

Alphabet = Literal["arpabet", "ipa"]
Case = Literal["upper", "lower", "mixed"]


@dataclass(frozen=True, slots=True)
class Pronouncer:
    """Reads words in one language."""

    alphabet: Alphabet
    locale: str
    """NeMo's, e.g. `en-US`."""
    entries: Mapping[str, tuple[str, ...] | None] = field(repr=False)
    """Word → phonemes; None: it has several readings and is spelt."""
    spelt: frozenset[str] = field(repr=False)
    """Heteronyms: spelt whatever the dictionary says."""
    case: Case = "lower"
    """Of the dictionary's words and of the letters that the model reads."""
    prefix: str = ""
    """Before each letter, to tell it from a phoneme."""

    def symbols(self, text: str) -> Iterator[str]:
        """Phonemes, letters and marks of `text`, in order."""
        at = 0
        pattern = _ENGLISH_WORD if self.locale == "en-US" else _ANY_WORD
        for found in pattern.finditer(text):
            yield from self._between(text[at : found.start()])
            yield from self._word(found[0])
            at = found.end()
        yield from self._between(text[at:])

    def _between(self, text: str) -> Iterator[str]:
        for char in text:
            yield from self._letters(char) if char.isalpha() else char

    def _word(self, word: str) -> Iterator[str]:
        if self.locale == "en-US":
            word = word.lower()
        phonemes = self._phonemes(word)
        if phonemes is not None or "-" not in word:
            yield from self._letters(word) if phonemes is None else phonemes
            return
        for number, part in enumerate(word.split("-")):
            if number:
                yield "-"
            phonemes = self._phonemes(part)
            yield from self._letters(part) if phonemes is None else phonemes

    def _letters(self, word: str) -> Iterator[str]:
        return (self.prefix + letter for letter in self._cased(word))

    def _phonemes(self, word: str) -> tuple[str, ...] | None:
        """None when the word must be spelt."""
        word = self._cased(word)
        if not word or word in self.spelt:
            return None
        known = self._find(word)
        if known is None:
            return self._inflected(word) if self.locale == "en-US" else None
        return self.entries[known]

    def _inflected(self, word: str) -> tuple[str, ...] | None:
        """A plural or genitive of a word that the dictionary has."""
        for ending in ("'s", "s"):
            stem = word[: -len(ending)]
            if stem and word.lower().endswith(ending):
                known = self._find(stem)
                if known is not None and (phonemes := self.entries[known]) is not None:
                    return phonemes + self._ending(known[-1].lower(), ending)
        return None

    def _ending(self, last: str, ending: str) -> tuple[str, ...]:
        if self.alphabet == "arpabet":
            return ("Z",)
        if last == "t":
            return ("s",)
        return ("ɪ", "z") if last == "s" and ending == "'s" else ("z",)

    def _find(self, word: str) -> str | None:
        """The dictionary's word; IPA dictionaries may have it in capitals."""
        if word in self.entries:
            return word
        upper = word.upper()
        return upper if self.alphabet == "ipa" and upper in self.entries else None

    def _cased(self, word: str) -> str:
        return {"upper": word.upper(), "lower": word.lower()}.get(self.case, word)
