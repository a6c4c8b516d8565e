"""Phrases that Whisper writes when nobody speaks: `phrases/`, one file a language.

A line is a phrase, compared without case and punctuation, as a whole or sentence by sentence.
Before it may stand how much speaks against it alone:

    thank you for watching     hardly ever said to a telephone: a little doubt is enough
    ? thank you                said by people, too: only withheld in much doubt
    ~ beep                     a word for a sound: withheld when the text has no other words
    subtitles by …             with anything after it

Collected from what Whisper's users report and from our own measurements on generated sounds.
"""

import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

_FOLDER = Path(__file__).with_name("phrases")
_A_LITTLE, _SOME, _MUCH = 0.25, 0.45, 0.6
_EVERYWHERE = "en"
"""Its phrases are written whatever the language is."""
_SENTENCE_END = re.compile(r"[.!?…。！？♪\n]+")


@dataclass(slots=True)
class _Phrases:
    unlikely: set[str] = field(default_factory=set)
    common: set[str] = field(default_factory=set)
    sounds: set[str] = field(default_factory=set)
    beginnings: set[str] = field(default_factory=set)

    def add(self, line: str) -> None:
        """One line of a file."""
        phrase = _packed(normalised(line))
        if line.startswith("?"):
            self.common.add(phrase)
        elif line.startswith("~"):
            self.sounds.add(phrase)
        elif line.endswith("…"):
            self.beginnings.add(phrase)
        else:
            self.unlikely.add(phrase)

    def likeness(self, sentence: str) -> float | None:
        """The doubt from which on this sentence is held to be invented; None: never."""
        packed = _packed(sentence)
        if packed in self.unlikely or any(map(packed.startswith, self.beginnings)):
            return _A_LITTLE
        if self.sounds.issuperset(sentence.split()):
            return _SOME
        return _MUCH if packed in self.common else None


class Inventions:
    """The phrases of all languages."""

    def __init__(self, phrases: dict[str, _Phrases] | None = None) -> None:
        self._phrases = phrases or {}

    @classmethod
    def load(cls, folder: Path = _FOLDER) -> Self:
        """Read every language's file, `xx.txt`."""
        phrases: dict[str, _Phrases] = {}
        for path in sorted(folder.glob("*.txt")):
            phrases[path.stem] = _Phrases()
            for line in path.read_text(encoding="utf-8").splitlines():
                if line.strip() and not line.startswith("#"):
                    phrases[path.stem].add(line.strip())
        return cls(phrases)

    @property
    def languages(self) -> tuple[str, ...]:
        return tuple(self._phrases)

    def matches(self, text: str, language: str | None, *, doubt: float) -> bool:
        """Is all of the text known to be invented, given this much doubt (0 to 1)?"""
        names = self._phrases if language is None else (language, _EVERYWHERE)
        known = [self._phrases[name] for name in names if name in self._phrases]
        sentences = [part for part in map(normalised, _SENTENCE_END.split(text)) if part]
        if not sentences:
            return False
        whole = [each.likeness(normalised(text)) for each in known]
        if any(needed is not None and doubt >= needed for needed in whole):
            return True
        return all(_needed(sentence, known) <= doubt for sentence in sentences)


def _needed(sentence: str, known: list[_Phrases]) -> float:
    found = [each.likeness(sentence) for each in known]
    return min((needed for needed in found if needed is not None), default=2.0)


def normalised(text: str) -> str:
    """Letters, digits and single spaces; accents stay, width and case do not."""
    text = unicodedata.normalize("NFKC", text).casefold().replace("'", "").replace("’", "")
    return " ".join("".join(char if _counts(char) else " " for char in text).split())


def _packed(phrase: str) -> str:
    """Without spaces, which Whisper puts where it likes in scripts that have none."""
    return phrase.replace(" ", "")


def _counts(char: str) -> bool:
    return unicodedata.category(char)[0] in "LMN"
