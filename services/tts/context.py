"""One context of a TTS session: its text, what is to be spoken of it, and what was."""

from collections import deque
from dataclasses import dataclass, field
from itertools import takewhile

from services.tts.engines.base import (
    AudioPiece,
    EngineError,
    ReadWord,
    SynthesisRequest,
    Voice,
    WordTime,
)
from services.tts.messages import Start
from services.tts.pacing import expected_s
from services.tts.segmentation import Segment, Segmenter
from services.tts.wording import Reader, Wording


@dataclass(slots=True, eq=False)
class Utterance:
    """One segment on its way from text to sent audio."""

    segment: Segment
    wording: Wording | None = None
    """None: nobody has decided yet how it is said, because it is not needed soon."""
    request: SynthesisRequest | None = None
    """None: not yet, or there is nothing to hear in it."""
    expected_samples: float = 0.0
    """How many it will have, roughly."""
    job_id: int | None = None
    asked_at: float = 0.0
    """When somebody was."""
    done: bool = False
    """All its audio is here."""
    error: EngineError | None = None
    pieces: deque[AudioPiece] = field(default_factory=deque)
    """Audio that waits for its turn."""
    sent_samples: int = 0
    waiting_samples: int = 0
    """In `pieces`."""
    sent_words: list[WordTime] = field(default_factory=list)

    @property
    def waits(self) -> bool:
        """Nobody was asked to speak it yet."""
        return self.job_id is None and not self.done

    def add(self, piece: AudioPiece) -> None:
        self.pieces.append(piece)
        self.waiting_samples += len(piece.samples)

    def take(self, most: int | None) -> AudioPiece:
        """The next piece, or its first `most` samples with all its words."""
        piece = self.pieces.popleft()
        if most is not None and len(piece.samples) > most:
            self.pieces.appendleft(AudioPiece(piece.samples[most:]))
            piece = AudioPiece(piece.samples[:most], piece.words)
        self.waiting_samples -= len(piece.samples)
        return piece

    @property
    def missing_samples(self) -> float:
        """How many are still to be made, roughly."""
        made = self.sent_samples + self.waiting_samples
        return 0.0 if self.done else max(0.0, self.expected_samples - made)

    def spoken_text(self, sample_rate: int) -> str:
        """The source text up to the last word whose audio was sent whole."""
        if self.done and not self.pieces:
            return self.segment.text
        sent_ms = self.sent_samples * 1000 // sample_rate
        whole = takewhile(lambda word: word.end_ms <= sent_ms, self.sent_words)
        end = self.wording.source_end(word.word for word in whole) if self.wording else 0
        return self.segment.text[:end]


@dataclass(frozen=True, slots=True)
class FlushMark:
    """All before it was asked to be spoken; the client hears when it was."""


class Context:
    """The state of one context.

    Args:
        context_id: the client's name for it.
        start: how it is to be spoken.
        voice: who speaks.
        reader: decides how the text is said.
        max_characters: longest segment.
        max_spoken_characters: longest text for an engine.
        now: seconds, monotonic.
    """

    def __init__(
        self,
        context_id: str,
        start: Start,
        voice: Voice,
        reader: Reader,
        *,
        max_characters: int,
        max_spoken_characters: int,
        now: float,
    ) -> None:
        self.id = context_id
        self.start = start
        self.voice = voice
        self.plan: deque[Utterance | FlushMark] = deque()
        """What is left to do, in order."""
        self.characters = 0
        """Received so far."""
        self.ended = False
        self.opened = False
        """Its first audio was sent."""
        self.sent_samples = 0
        self.first_audio_ms: int | None = None
        self.paused_since: float | None = None
        """When the last text came, unless the pause was already dealt with."""
        self._reader = reader
        self._max_spoken_characters = max_spoken_characters
        self._segmenter = Segmenter(max_characters=max_characters)
        self._spoken: list[str] = []
        self._text_at: float | None = None
        self._turn_at = now

    @property
    def sent_ms(self) -> int:
        return self.sent_samples * 1000 // self.voice.sample_rate

    @property
    def lead_s(self) -> float | None:
        """How far audio may be ahead of the listener; None: as fast as it can."""
        pacing = self.start.pacing
        return None if pacing is None else pacing.lead_ms / 1000

    @property
    def sample_rate(self) -> int:
        """Hz that the client gets."""
        return self.start.sample_rate or self.voice.sample_rate

    def push(self, text: str, now: float) -> None:
        self.characters += len(text)
        if self._text_at is None and text.strip():
            self._text_at = now
        self.paused_since = now
        self._add(self._segmenter.push(text))

    def flush(self) -> None:
        self._add(self._segmenter.flush())
        self.plan.append(FlushMark())
        self.paused_since = None

    def end(self) -> None:
        self._add(self._segmenter.flush())
        self.ended = True
        self.paused_since = None

    def on_pause(self) -> None:
        self._add(self._segmenter.on_idle())
        self.paused_since = None

    def take_turn(self, now: float) -> None:
        """The contexts before it are done."""
        self._turn_at = now

    def record_sent(self, utterance: Utterance, piece: AudioPiece, now: float) -> None:
        if self.first_audio_ms is None:
            since = max(self._turn_at, now if self._text_at is None else self._text_at)
            self.first_audio_ms = max(0, round((now - since) * 1000))
        utterance.sent_samples += len(piece.samples)
        utterance.sent_words += piece.words
        self.sent_samples += len(piece.samples)

    def record_spoken(self, utterance: Utterance) -> None:
        """All of it was sent."""
        self._spoken.append(utterance.segment.text)

    def spoken_text(self) -> str:
        """What a listener can have heard, as it was received."""
        spoken = "".join(self._spoken)
        head = self.plan[0] if self.plan else None
        if isinstance(head, Utterance):
            spoken += head.spoken_text(self.voice.sample_rate)
        return spoken

    def read(self, index: int) -> None:
        """Decide how the utterance at this place of the plan is said; it may become several."""
        unread = self.plan[index]
        assert isinstance(unread, Utterance)
        del self.plan[index]
        parts = self._reader.read_segment(unread.segment, self._max_spoken_characters)
        for place, (segment, wording) in enumerate(parts, index):
            self.plan.insert(place, self._utterance(segment, wording))

    def _utterance(self, segment: Segment, wording: Wording) -> Utterance:
        if not wording.speakable:
            return Utterance(segment, wording, done=True)
        request = self._request(wording.text, wording.words)
        expected = expected_s(request) * self.voice.sample_rate
        return Utterance(segment, wording, request, expected)

    def _request(self, text: str, words: tuple[ReadWord, ...] = ()) -> SynthesisRequest:
        start = self.start
        return SynthesisRequest(
            text, self.voice.id, language=start.language, speed=start.speed, words=words
        )

    def _add(self, segments: list[Segment]) -> None:
        for segment in segments:
            expected = expected_s(self._request(segment.text)) * self.voice.sample_rate
            self.plan.append(Utterance(segment, expected_samples=expected))
