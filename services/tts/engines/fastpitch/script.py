"""A text as FastPitch will speak it: in one go what is one sentence, with its words. Pure."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.tts.abbreviations import NEVER_FINAL, SOMETIMES_FINAL
from services.tts.engines.base import ReadWord, WordTime
from services.tts.engines.checks import WRITTEN_WORD, is_speakable
from services.tts.engines.fastpitch.tokens import Spelling, Tokeniser, Tokens
from services.tts.normalisation.base import replaced
from services.tts.normalisation.languages import normaliser_for

MAX_TOKENS = 400
"""Most tokens spoken in one go: attention costs the square of them, and no model was trained on
longer sentences."""
_MAX_PART = 300
"""Most tokens of a word, such as a number of hundreds of digits, that are spoken in one go."""
_SENTENCE_END = re.compile(r"[.!?…][\"'”’»)\]}]*$")
_DIGIT = re.compile(r"\d")


@dataclass(frozen=True, slots=True)
class Run:
    """What is spoken in one go."""

    tokens: Tokens
    words: tuple[str, ...]
    """Written; the owners of the tokens are numbers of these."""

    def word_times(
        self, samples: npt.NDArray[np.int64], begin: int, sample_rate: int
    ) -> Iterator[WordTime]:
        """When each word is heard.

        Args:
            samples: [tokens] how long each token is heard.
            begin: the run's first sample within the request's audio.
        """
        ends = begin + np.cumsum(samples)
        owners = np.array(self.tokens.owners)
        at = begin
        for number, word in enumerate(self.words):
            own = np.flatnonzero(owners == number)
            first = int(ends[own[0]] - samples[own[0]]) if len(own) else at
            at = int(ends[own[-1]]) if len(own) else at
            yield WordTime(word, first * 1000 // sample_rate, at * 1000 // sample_rate)


@dataclass(frozen=True, slots=True)
class _Word:
    name: str
    """As written; empty for what is not told, such as a dash on its own."""
    spellings: list[Spelling]

    @property
    def size(self) -> int:
        return sum(len(spelling.ids) + 1 for spelling in self.spellings)

    @property
    def sounds(self) -> bool:
        return any(any(spelling.sounds) for spelling in self.spellings)


class ScriptReader:
    """Divides texts into runs.

    Args:
        language: BCP 47 tag, of the voice.
    """

    def __init__(self, tokeniser: Tokeniser, language: str) -> None:
        self._tokeniser = tokeniser
        self._normalise = normaliser_for(language)

    def runs(self, text: str, words: Sequence[ReadWord] = ()) -> Iterator[Run]:
        """Sentences of `text`, divided between words where too long.

        Args:
            words: what stands for what in `text`; empty: all is said as it is written.
        """
        words = words or [ReadWord(word, word) for word in WRITTEN_WORD.findall(text)]
        for group in self._groups(words):
            names = tuple(word.name for word in group if word.name)
            numbers = _numbers(word.name for word in group)
            parts = (word.spellings for word in group)
            yield Run(self._tokeniser.join(zip(numbers, parts, strict=True)), names)

    def _groups(self, words: Sequence[ReadWord]) -> list[list[_Word]]:
        """Words that are spoken in one go; what makes no sound goes with what does."""
        groups: list[list[_Word]] = []
        group: list[_Word] = []
        for number, word in enumerate(words):
            for part in self._spell(word):
                if sum(one.size for one in group) + part.size > MAX_TOKENS:
                    group = _added(groups, group)
                group.append(part)
            if number + 1 < len(words) and _ends_sentence(word.spoken, words[number + 1].spoken):
                group = _added(groups, group)
        _added(groups, group)
        return groups

    def _spell(self, word: ReadWord) -> Iterator[_Word]:
        """A word; in parts when it is too long, of which only the first bears its name."""
        name = word.written if is_speakable(word.spoken) else ""
        spellings: list[Spelling] = []
        for spelling in map(self._tokeniser.spell, self._spoken(word).split()):
            for part in spelling.divided(_MAX_PART):
                if sum(len(one.ids) + 1 for one in spellings) + len(part.ids) > _MAX_PART:
                    yield _Word(name, spellings)
                    name, spellings = "", []
                spellings.append(part)
        yield _Word(name, spellings)

    def _spoken(self, word: ReadWord) -> str:
        """Without digits, which no FastPitch model can say, in marks that the model knows."""
        text = word.spoken
        if _DIGIT.search(text):
            text = replaced(text, self._normalise(text, ()))
        return self._tokeniser.in_known_marks(text)


def _added(groups: list[list[_Word]], group: list[_Word]) -> list[_Word]:
    """Add a group that can be heard; what is left over begins the next one."""
    if any(word.sounds for word in group):
        groups.append(group)
        return []
    if groups:
        groups[-1] += group
        return []
    return group


def _numbers(names: Iterable[str]) -> Iterator[int]:
    """Of the named, counted from 0; -1 for the others."""
    count = 0
    for name in names:
        yield count if name else -1
        count += bool(name)


def _ends_sentence(spoken: str, following: str) -> bool:
    if not _SENTENCE_END.search(spoken):
        return False
    word = spoken.lower().strip("\"'“”‘’«»([{)]}").rstrip(".")
    if word in SOMETIMES_FINAL:
        return following[:1].isupper()
    return word not in NEVER_FINAL
