"""One context of a TTS session: its text, what is to be spoken of it, and what was."""

from collections import deque
from dataclasses import dataclass, field

from services.tts.engines.base import AudioPiece, EngineError, SynthesisRequest, Voice, WordTime
from services.tts.engines.checks import is_speakable
from services.tts.messages import Start
from services.tts.pacing import expected_s
from services.tts.segmentation import Segment, Segmenter
from services.tts.speakable import speakable


@dataclass(slots=True, eq=False)
class Utterance:
    """One segment on its way from text to sent audio."""

    segment: Segment
    request: SynthesisRequest | None
    """None: there is nothing to hear in it."""
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
        end = 0
        for word in self.sent_words:
            if word.end_ms > sent_ms:
                break
            found = self.segment.text.find(word.word, end)
            end = found + len(word.word) if found >= 0 else end
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
        max_characters: longest segment.
        now: seconds, monotonic.
    """

    def __init__(
        self, context_id: str, start: Start, voice: Voice, *, max_characters: int, now: float
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

    def _add(self, segments: list[Segment]) -> None:
        for segment in segments:
            text = speakable(segment.text)
            request, expected = None, 0.0
            if is_speakable(text):
                request = SynthesisRequest(
                    text, self.voice.id, language=self.start.language, speed=self.start.speed
                )
                expected = expected_s(request) * self.voice.sample_rate
            self.plan.append(Utterance(segment, request, expected, done=request is None))
