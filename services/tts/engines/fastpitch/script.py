"""A text as FastPitch will speak it: in one go what is one sentence, with its words. Pure."""

import re
from collections.abc import Iterator, Sequence
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
        waiting: list[tuple[str, list[Spelling]]] = []
        length = 0
        for number, word in enumerate(words):
            spellings = [self._tokeniser.spell(part) for part in self._spoken(word).split()]
            size = sum(len(spelling.ids) + 1 for spelling in spellings)
            if waiting and length + size > MAX_TOKENS:
                yield from self._run(waiting)
                waiting, length = [], 0
            waiting.append((word.written if is_speakable(word.spoken) else "", spellings))
            length += size
            if number + 1 < len(words) and _ends_sentence(word.spoken, words[number + 1].spoken):
                yield from self._run(waiting)
                waiting, length = [], 0
        yield from self._run(waiting)

    def _spoken(self, word: ReadWord) -> str:
        """Without digits, which no FastPitch model can say."""
        if not _DIGIT.search(word.spoken):
            return word.spoken
        return replaced(word.spoken, self._normalise(word.spoken, ()))

    def _run(self, words: Sequence[tuple[str, list[Spelling]]]) -> Iterator[Run]:
        if any(any(spelling.sounds) for _, spellings in words for spelling in spellings):
            names = [name for name, _ in words if name]
            numbers = _numbers([name for name, _ in words])
            spelt = zip(numbers, (spellings for _, spellings in words), strict=True)
            yield Run(self._tokeniser.join(spelt), tuple(names))


def _numbers(names: Sequence[str]) -> Iterator[int]:
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
