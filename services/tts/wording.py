"""From the text that a client sent to the words that an engine says, and back. Pure.

markdown and emoji go (`speakable`), the lexicon says what it knows, numbers and the like become
words (`normalisation`). What a listener heard is told in the client's own text, so every word that
is said knows which written word it stands for, and that one where it ends in the source.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from services.tts.boundaries import best_split
from services.tts.engines.base import ReadWord
from services.tts.engines.checks import WRITTEN_WORD, is_speakable
from services.tts.lexicon import Lexicon, find_words
from services.tts.normalisation.base import Replacement, replaced
from services.tts.normalisation.languages import normaliser_for
from services.tts.segmentation import Segment
from services.tts.speakable import speakable
from services.tts.traced import TracedText


@dataclass(frozen=True, slots=True, eq=False)
class Wording:
    """How a stretch of text is said."""

    text: str
    """For the engine."""
    words: tuple[ReadWord, ...]
    """What becomes of each written word; empty when all are said as they are written."""
    written: TracedText
    """What was written for the ear, before numbers became words."""

    @property
    def speakable(self) -> bool:
        """There is something to hear."""
        return is_speakable(self.text)

    def source_end(self, heard: Iterable[str]) -> int:
        """How much of the source was said with these words, which are the first that were heard."""
        end = 0
        for word in heard:
            found = self.written.text.find(word, end)
            end = found + len(word) if found >= 0 else end
        return self.written.ends[end - 1] if end else 0


class Reader:
    """Decides how text is said in one language.

    Args:
        language: BCP 47 tag of the voice.
        normalise: say numbers, dates and the like in words; else the engine sees them as they are.
        lexicons: words that are said as told there; of equal ones the first counts.
        phonemes: the engine takes phonemes; else what the lexicon has only in phonemes is left.
    """

    def __init__(
        self,
        language: str,
        *,
        normalise: bool = True,
        lexicons: Sequence[Lexicon] = (),
        phonemes: bool = False,
    ) -> None:
        self._normalise = normaliser_for(language) if normalise else _as_it_is
        self._lexicons = tuple(lexicons)
        self._phonemes = phonemes

    def read(self, text: str) -> Wording:
        """How `text` is said; never fails."""
        written = speakable(text)
        known = find_words(written.text, self._lexicons, phonemes=self._phonemes)
        replacements = self._normalise(written.text, known)
        if not replacements:
            return Wording(written.text, (), written)
        words = tuple(_read_words(written.text, replacements))
        return Wording(" ".join(replaced(written.text, replacements).split()), words, written)

    def read_segment(
        self, segment: Segment, max_characters: int
    ) -> Iterator[tuple[Segment, Wording]]:
        """How a segment is said, in parts when that is longer than an engine takes."""
        wording = self.read(segment.text)
        if len(wording.text) <= max_characters or len(segment.text) < 2:
            yield segment, wording
            return
        cut = best_split(segment.text, max(1, len(segment.text) * 2 // 3))
        head, tail = segment.text[:cut], segment.text[cut:]
        yield from self.read_segment(Segment(head, segment.start), max_characters)
        yield from self.read_segment(Segment(tail, segment.start + cut), max_characters)


def _as_it_is(text: str, claimed: Sequence[Replacement] = ()) -> list[Replacement]:
    return list(claimed)


def _read_words(text: str, replacements: Sequence[Replacement]) -> Iterator[ReadWord]:
    """Each written word with what is said for it; those that are said together count as one."""
    waiting = list(reversed(replacements))
    reached = 0
    group: list[Replacement] = []
    start = 0
    spans = [found.span() for found in WRITTEN_WORD.finditer(text)]
    for number, (first, end) in enumerate(spans):
        if not group and reached <= first:
            start = first
        while waiting and waiting[-1].start < end:
            one = waiting.pop()
            group.append(one)
            reached = max(reached, one.end)
        if reached > end and number + 1 < len(spans) and reached > spans[number + 1][0]:
            continue  # what replaces this word goes on in the next
        yield _read_word(text, start, end, group)
        group, start = [], end


def _read_word(text: str, start: int, end: int, group: Sequence[Replacement]) -> ReadWord:
    written = text[start:end]
    inside = [
        Replacement(max(one.start, start) - start, min(one.end, end) - start, one.spoken)
        for one in group
    ]
    return ReadWord(written, " ".join(replaced(written, inside).split()))
