"""One thing that the agent says: its text, when its words are heard, and what was heard of it."""

from dataclasses import dataclass, field

from examples.voice_agent.events import TimedWord
from examples.voice_agent.ports import Speculation, TurnTimes

_TOLERANCE_MS = 40.0
"""A word that is this near to its end has been heard."""


@dataclass(slots=True)
class Utterance:
    """Pure book-keeping; the dialogue decides."""

    id: int
    kind: str
    """"answer", or the name of a sentence."""
    text: str = ""
    attempt: int = 0
    opened: bool = False
    """Its first attempt is at the TTS service (or it is a sentence from memory)."""
    ended: bool = False
    """It gets no more text."""
    complete: bool = False
    """All of its audio is there."""
    complete_s: float = 0.0
    """Since when."""
    released: bool = False
    """It may be played."""
    released_s: float = 0.0
    """Since when."""
    audio_ms: float = 0.0
    """Came from the TTS service."""
    sent_ms: float = 0.0
    words: list[TimedWord] = field(default_factory=list)
    """On the utterance's own time, whatever the attempt."""
    attempt_offset_ms: float = 0.0
    """Audio of earlier attempts."""
    times: dict[str, float] = field(default_factory=dict)
    speculation: Speculation = Speculation.NONE
    heard_to: int | None = None
    """Where in the text the caller broke in; None: not at all."""
    logged_ms: float = 0.0
    """Words up to here are known to the echo guard."""

    def note_time(self, stage: str, at_s: float) -> None:
        """Keep the first time of a stage of :class:`.TurnTimes`."""
        self.times.setdefault(stage, at_s)

    def turn_times(self) -> TurnTimes:
        return TurnTimes(**self.times)

    def add_words(self, words: tuple[TimedWord, ...]) -> None:
        shift = self.attempt_offset_ms
        self.words += [TimedWord(w.word, w.start_ms + shift, w.end_ms + shift) for w in words]

    def interrupt(self, heard_ms: float) -> None:
        """What comes after the words that end within `heard_ms` was never heard."""
        self.heard_to = self._offset(heard_ms + _TOLERANCE_MS)

    @property
    def spoken(self) -> str:
        """The text that was, or will be, heard."""
        return self.text[: self.heard_to].strip()

    def between(self, start: int, end: int | None) -> str:
        """A part of the text, as far as it was heard."""
        stop = len(self.text) if end is None else end
        return self.text[
            start : stop if self.heard_to is None else min(stop, self.heard_to)
        ].strip()

    def begin_again(self) -> str:
        """Another attempt: what is left to be said, as the audio that came has the rest."""
        offset = self._offset(self.audio_ms)
        self.words = [word for word in self.words if word.end_ms <= self.audio_ms]
        self.attempt += 1
        self.attempt_offset_ms = self.audio_ms
        return self.text[offset:].lstrip()

    def _offset(self, ms: float) -> int:
        """Where in the text the words end that end within `ms`."""
        if not self.words:
            return self._offset_by_share(ms)
        end = 0
        for word in self.words:
            if word.end_ms > ms:
                break
            found = self.text.find(word.word, end)
            if found >= 0:
                end = found + len(word.word)
        return end

    def _offset_by_share(self, ms: float) -> int:
        """Without word times: at a steady pace, back to the last whole word."""
        if self.audio_ms <= 0:
            return 0
        if self.complete and ms >= self.audio_ms:
            return len(self.text)
        offset = int(len(self.text) * min(1.0, ms / self.audio_ms))
        return max(0, self.text.rfind(" ", 0, offset + 1))
