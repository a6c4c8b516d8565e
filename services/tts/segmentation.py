"""Cuts text that arrives in fragments into segments worth speaking.

The first segment of a context ends as early as it sounds right (a clause of three words, or
whatever there is when the text pauses), for the sake of the time to first audio; later ones are
sentences. Where the cuts fall depends on the text alone, not on how it was fragmented.

Pure: no clock; the caller tells when the text pauses.
"""

from dataclasses import dataclass

from services.tts.boundaries import (
    CLAUSE_WORDS,
    LOOK_AHEAD,
    best_split,
    count_words,
    ends_open_sentence,
    find_end,
)


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of the source text, to be spoken together."""

    text: str
    """As it came, with the white space before it."""
    start: int
    """Characters of the context's text before it."""

    @property
    def end(self) -> int:
        return self.start + len(self.text)


class Segmenter:
    """Cuts one context's text; the segments joined are the text, character for character.

    Args:
        max_characters: longest segment.
    """

    def __init__(self, *, max_characters: int = 280) -> None:
        if max_characters < 2:
            raise ValueError("max_characters must be at least 2")
        self._max = max_characters
        self._text = ""
        self._begin = 0
        """Where the next segment begins in `_text`."""
        self._looked = 0
        """Characters of the next segment in which it does not end; nobody looks at them twice."""
        self._dropped = 0
        """Characters of the context's text that lie before `_text`."""
        self._first = True

    @property
    def pending(self) -> str:
        """What no segment has covered yet."""
        return self._text[self._begin :]

    def push(self, fragment: str) -> list[Segment]:
        """Take more text; gives the segments that are now complete."""
        self._text = self.pending + fragment
        self._dropped += self._begin
        self._begin = 0
        return self._cut_all(complete=False)

    def on_idle(self) -> list[Segment]:
        """The text pauses: gives what can be spoken now.

        That is a sentence whose end only lacked its next character, or, at the very beginning, the
        words so far when they are enough; the last one may go on, so it stays unless a mark closes
        it.
        """
        pending = self.pending
        if ends_open_sentence(pending):
            return self.flush()
        within = pending[: self._max + 1]  # there may be a little more, which is not cut yet
        until = max((at for at, char in enumerate(within) if char.isspace()), default=0)
        if self._first and count_words(pending[:until]) >= CLAUSE_WORDS:
            return [self._take(until)]
        return []

    def flush(self) -> list[Segment]:
        """Give all that is left; text that follows begins a new segment."""
        segments = self._cut_all(complete=True)
        if rest := self.pending:
            segments.append(self._take(len(rest)))
        return segments

    def _cut_all(self, *, complete: bool) -> list[Segment]:
        segments = []
        while (length := self._next_length(complete)) is not None:
            segments.append(self._take(length))
        return segments

    def _next_length(self, complete: bool) -> int | None:
        """How long the next segment is, when that is certain."""
        reach = self._max + LOOK_AHEAD
        window = self._text[self._begin : self._begin + reach]
        cut_short = len(window) == reach
        end, self._looked = find_end(
            window, clauses=self._first, complete=complete or cut_short, begin=self._looked
        )
        if end is not None and end <= self._max:
            return end
        if end is not None or cut_short or (complete and len(window) > self._max):
            return best_split(window, self._max)
        return None

    def _take(self, length: int) -> Segment:
        text = self._text[self._begin : self._begin + length]
        segment = Segment(text, self._dropped + self._begin)
        self._begin += length
        self._looked = 0
        if count_words(text):
            self._first = False
        return segment
