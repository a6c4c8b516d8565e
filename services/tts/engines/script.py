"""A text as espeak reads it: phonemes, sentences, and which phonemes each written word became."""

import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.tts.abbreviations import NEVER_FINAL
from services.tts.engines.base import ReadWord, WordTime
from services.tts.engines.checks import WRITTEN_WORD
from services.tts.engines.espeak import Espeak
from services.tts.engines.word_alignment import align_words

MAX_PHONEMES = 400
"""Most phonemes of one run: attention costs the square of them. Longer sentences are divided."""
_ABBREVIATION = re.compile(r"\b([A-Za-z]{2,6})\.(?=\s+\w)")


@dataclass(frozen=True, slots=True)
class ScriptWord:
    """A written word and its range of phonemes; the range is empty when it was swallowed."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Script:
    """A text as it will be spoken."""

    phonemes: tuple[str, ...]
    sentence_ends: tuple[int, ...]
    """One past each sentence's last phoneme."""
    words: tuple[ScriptWord, ...]
    """The audible words, in order."""

    def runs(self) -> Iterator[range]:
        """Phonemes to synthesise in one go: sentences, divided at a space where too long."""
        start = 0
        for end in self.sentence_ends:
            while end - start > MAX_PHONEMES:
                cut = start + MAX_PHONEMES
                spaces = (i for i in range(cut, start, -1) if self.phonemes[i] == " ")
                cut = next(spaces, cut)
                yield range(start, cut)
                start = cut
            yield range(start, end)
            start = end

    def word_times(
        self, run: range, spans: npt.NDArray[np.int64], sample_rate: int
    ) -> Iterator[WordTime]:
        """When the words that begin in `run` are heard.

        Args:
            spans: first and one past the last sample of each phoneme of the run, [phonemes, 2].
        """
        ms = spans * 1000 // sample_rate
        for word in self.words:
            # A swallowed word at the very end has no phoneme after it to begin with.
            first = min(word.start, len(self.phonemes) - 1)
            if first in run:
                last = max(first, min(word.end, run.stop) - 1)
                start_ms = int(ms[first - run.start, 0])
                end_ms = int(ms[last - run.start, 1]) if word.end > word.start else start_ms
                yield WordTime(word.text, start_ms, end_ms)


def read_script(text: str, espeak: Espeak, words: Sequence[ReadWord] = ()) -> Script:
    """Phonemize `text` and find its words again in the phonemes.

    Args:
        words: what stands for what in `text`; the script's words are then the written ones.
    """
    phonemes: list[str] = []
    ends: list[int] = []
    for clause in espeak.clauses(without_idle_periods(text)):
        phonemes += clause.phonemes
        if clause.ends_sentence:
            ends.append(len(phonemes))
    if phonemes and (not ends or ends[-1] < len(phonemes)):
        ends.append(len(phonemes))
    words = words or [ReadWord(word, word) for word in WRITTEN_WORD.findall(text)]
    spans = align_words(phonemes, [espeak.word(word.spoken) for word in words])
    audible = (
        ScriptWord(word.written, *span) for word, span in zip(words, spans, strict=True) if span
    )
    return Script(tuple(phonemes), tuple(ends), tuple(audible))


def without_idle_periods(text: str) -> str:
    """ "Dr. Smith" → "Dr Smith": espeak would end the sentence there."""
    return _ABBREVIATION.sub(
        lambda found: found[1] if found[1].lower() in NEVER_FINAL else found[0], text
    )


def sample_spans(
    owners: Sequence[int], samples_per_id: npt.NDArray[np.int64], count: int
) -> npt.NDArray[np.int64]:
    """First and one past the last sample of each of `count` phonemes, [count, 2].

    Args:
        owners: the phoneme that each id belongs to, or -1.
        samples_per_id: how long each id is heard.
    """
    id_ends = np.cumsum(samples_per_id)
    spans = np.full((count, 2), -1, dtype=np.int64)
    for index, owner in enumerate(owners):
        if owner >= 0:
            begin = id_ends[index] - samples_per_id[index]
            spans[owner, 0] = begin if spans[owner, 0] < 0 else spans[owner, 0]
            spans[owner, 1] = id_ends[index]
    at = 0
    for span in spans:  # phonemes that the voice lacks take no time
        span[:] = span if span[0] >= 0 else at
        at = span[1]
    return spans


def take_begun(words: deque[WordTime], until_ms: int) -> tuple[WordTime, ...]:
    """Take the words off the front that begin by `until_ms`: they go with the audio until then."""
    begun = []
    while words and words[0].start_ms <= until_ms:
        begun.append(words.popleft())
    return tuple(begun)
