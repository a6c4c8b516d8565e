"""How words are to be said: entries of a lexicon, checked, and found again in text. Pure.

An entry says a word by a respelling ("Nguyen": "win") or, between slashes, in IPA phonemes
("/wɪn/") for engines that take them. A word in small letters is meant however it is written; one
with capitals only as it stands there.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.tts.normalisation.base import Replacement

MAX_WORD = 100
MAX_SAY = 200
_WORD_BEGIN = re.compile(r"(?<![^\W_])[^\W_]")
_IPA = re.compile(r"/([^/]+)/")


class LexiconError(ValueError):
    """An entry is not possible; the sentence says why."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One word, or several, and how to say them."""

    word: str
    say: str

    @property
    def phonemes(self) -> str | None:
        """IPA, or None when `say` is a respelling."""
        found = _IPA.fullmatch(self.say)
        return found[1] if found else None


def checked_entry(word: str, say: str) -> Entry:
    """An entry in composed form (NFC), without white space around it.

    Raises:
        LexiconError
    """
    word = " ".join(unicodedata.normalize("NFC", word).split())
    say = " ".join(unicodedata.normalize("NFC", say).split())
    for name, text, most in (("word", word, MAX_WORD), ("say", say, MAX_SAY)):
        if not 0 < len(text) <= most:
            raise LexiconError(f'"{name}" must have 1 to {most} characters, not {len(text)}')
        if not text.isprintable() or "[[" in text or "]]" in text:
            raise LexiconError(f'"{name}" has characters that cannot be read aloud')
    if not word[0].isalnum():
        raise LexiconError(f"the word {word!r} must begin with a letter or a digit")
    entry = Entry(word, say)
    if entry.phonemes is not None:
        _check_phonemes(entry.phonemes)
    elif not any(char.isalnum() for char in say):
        raise LexiconError(f"nothing can be heard of {say!r}")
    return entry


def _check_phonemes(phonemes: str) -> None:
    odd = [char for char in phonemes if unicodedata.category(char) not in _PHONETIC]
    if odd:
        raise LexiconError(f"{odd[0]!r} is no IPA symbol; phonemes stand between slashes: /wɪn/")


_PHONETIC = frozenset({"Ll", "Lo", "Lm", "Mn", "Sk", "Zs"})
"""Unicode categories of IPA letters, their marks, and spaces."""


class Lexicon:
    """Entries for one language; it never changes.

    Args:
        entries: word → how to say it, as :func:`checked_entry` takes them.

    Raises:
        LexiconError
    """

    def __init__(self, entries: Mapping[str, str]) -> None:
        checked = (checked_entry(word, say) for word, say in entries.items())
        self.entries = {entry.word: entry for entry in checked}
        """By word."""
        self._by_begin: dict[str, list[Entry]] = {}
        for entry in sorted(self.entries.values(), key=lambda entry: -len(entry.word)):
            self._by_begin.setdefault(_begin(entry.word), []).append(entry)

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def version(self) -> str:
        """Equal for equal entries."""
        pairs = sorted((entry.word, entry.say) for entry in self.entries.values())
        return hashlib.sha256(json.dumps(pairs).encode()).hexdigest()[:16]

    @property
    def has_phonemes(self) -> bool:
        """Some of its entries need an engine that takes them."""
        return any(entry.phonemes is not None for entry in self.entries.values())

    def as_told(self) -> dict[str, str]:
        """Word → how it is said."""
        return {entry.word: entry.say for entry in self.entries.values()}

    def with_entry(self, entry: Entry) -> "Lexicon":
        """This lexicon with one entry more, or another one for the word."""
        return Lexicon({**self.as_told(), entry.word: entry.say})

    def without(self, word: str) -> "Lexicon":
        return Lexicon({other: say for other, say in self.as_told().items() if other != word})

    def entry_at(self, text: str, at: int, *, phonemes: bool) -> Entry | None:
        """The longest entry whose word stands at a place where a word begins."""
        for entry in self._by_begin.get(_begin(text[at : at + 2]), ()):
            if (entry.phonemes is None or phonemes) and _stands_at(entry.word, text, at):
                return entry
        return None


def find_words(text: str, lexicons: Sequence[Lexicon], *, phonemes: bool) -> list[Replacement]:
    """Whole words of `text` that stand in a lexicon, the longest first.

    Args:
        lexicons: of equal words that of an earlier one is taken.
        phonemes: also those with phonemes, which are given as `[[…]]`.
    """
    found: list[Replacement] = []
    reached = 0
    for begin in _WORD_BEGIN.finditer(text) if any(map(len, lexicons)) else ():
        at = begin.start()
        fitting = [each.entry_at(text, at, phonemes=phonemes) for each in lexicons]
        known = [entry for entry in fitting if entry is not None]
        if known and at >= reached:
            entry = max(known, key=lambda entry: len(entry.word))
            reached = at + len(entry.word)
            ipa = entry.phonemes
            found.append(Replacement(at, reached, entry.say if ipa is None else f"[[{ipa}]]"))
    return found


def _begin(word: str) -> str:
    """What candidates are sorted by."""
    return word[:2].lower()


def _stands_at(word: str, text: str, at: int) -> bool:
    end = at + len(word)
    there = text[at:end]
    if end < len(text) and text[end].isalnum():
        return False
    return there == word or (word.islower() and there.lower() == word)
