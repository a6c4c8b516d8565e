"""The answer of `POST /v1/transcribe`."""

from services.asr.messages import Milliseconds, Word
from services.shared.protocol.base import Message


class Segment(Message):
    start_ms: Milliseconds
    end_ms: Milliseconds
    text: str
    confidence: float | None = None
    words: tuple[Word, ...] | None = None


class Transcript(Message):
    """The answer of `POST /v1/transcribe`."""

    text: str
    language: str | None = None
    duration_ms: Milliseconds
    segments: tuple[Segment, ...]
