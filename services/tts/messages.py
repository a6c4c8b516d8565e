"""The messages of `WS /v1/stream/tts`, protocol version 1. Times are milliseconds of audio.

A context is one answer: text goes in with its `context_id`, audio comes out. Contexts are spoken in
the order of their `start`, one after the other.
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from services.shared.audio.pcm import Encoding as Encoding
from services.shared.protocol.base import Error, Message
from services.shared.protocol.codec import Codec
from services.tts.lexicon import Lexicon

Milliseconds = Annotated[int, Field(ge=0)]
ContextId = Annotated[str, Field(min_length=1, max_length=64)]


_MAX_ENTRIES = 100


def _checked_lexicon(entries: dict[str, str]) -> dict[str, str]:
    Lexicon(entries)  # a LexiconError is a ValueError, as pydantic wants it
    return entries


LexiconEntries = Annotated[
    dict[str, str], Field(max_length=_MAX_ENTRIES), AfterValidator(_checked_lexicon)
]
"""Word → how to say it: a respelling, or IPA between slashes for voices that take phonemes."""


class CacheUse(StrEnum):
    """What becomes of phrases that were spoken before."""

    DEFAULT = "default"
    """Take what is there, keep what is new."""
    REFRESH = "refresh"
    """Speak anew and keep that."""
    BYPASS = "bypass"
    """Speak anew and keep nothing."""


class Pacing(Message):
    """Send audio in real time, in messages of 20 ms, as a telephone line wants it."""

    lead_ms: Annotated[int, Field(ge=20, le=10_000)] = 200
    """How much of it may be under way or wait to be played."""


class Start(Message):
    """Client → server: open a context; it queues behind those that are open."""

    type: Literal["start"] = "start"
    context_id: ContextId | None = None
    """Left out: the server makes one and tells it in `audio_started`."""
    voice: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    """Left out: the default voice, for `language` if that is given."""
    language: Annotated[str, Field(min_length=2, max_length=35)] | None = None
    encoding: Encoding = Encoding.PCM_S16LE
    """What the binary messages will hold; always mono."""
    sample_rate: Annotated[int, Field(ge=8000, le=48_000)] | None = None
    """Hz. Left out: the voice's own."""
    speed: Annotated[float, Field(ge=0.25, le=4.0)] = 1.0
    word_timestamps: bool = False
    interrupt: bool = False
    """Cancel every open context first, instead of queueing behind them."""
    pacing: Pacing | None = None
    """Left out: as fast as the client reads."""
    cache: CacheUse = CacheUse.DEFAULT
    normalise: bool = True
    """Say numbers, dates, money and the like in words; False: leave them to the engine."""
    lexicon: LexiconEntries = Field(default_factory=dict)
    """Goes before the operator's."""


class Text(Message):
    """Client → server: more text, any fragment; white space between words is yours to send."""

    type: Literal["text"] = "text"
    text: str
    context_id: ContextId | None = None
    """Left out, here and below: the context that was started last."""


class Flush(Message):
    """Client → server: speak what is buffered, though the sentence be unfinished."""

    type: Literal["flush"] = "flush"
    context_id: ContextId | None = None


class End(Message):
    """Client → server: no more text for this context."""

    type: Literal["end"] = "end"
    context_id: ContextId | None = None


class Cancel(Message):
    """Client → server: stop speaking now. Without `context_id`: every context."""

    type: Literal["cancel"] = "cancel"
    context_id: ContextId | None = None


class Close(Message):
    """Client → server: end all contexts, speak what is queued, then close."""

    type: Literal["close"] = "close"


class Ready(Message):
    """Server → client, first: the session exists."""

    type: Literal["ready"] = "ready"
    session_id: str
    protocol: int
    default_voice: str
    voices: tuple[str, ...]


class AudioStarted(Message):
    """The binary messages from here on belong to this context."""

    type: Literal["audio_started"] = "audio_started"
    context_id: str
    encoding: Encoding
    sample_rate: int


class SpokenWord(Message):
    word: str
    start_ms: Milliseconds
    """From the context's first sample."""
    end_ms: Milliseconds


class Words(Message):
    """When words are heard; sent before the audio in which they begin."""

    type: Literal["words"] = "words"
    context_id: str
    words: tuple[SpokenWord, ...]


class Flushed(Message):
    """All text before a flush has been sent as audio."""

    type: Literal["flushed"] = "flushed"
    context_id: str
    audio_ms: Milliseconds
    """Sent in this context so far."""


class AudioFinished(Message):
    """All of an ended context has been sent; its last message."""

    type: Literal["audio_finished"] = "audio_finished"
    context_id: str
    audio_ms: Milliseconds
    first_audio_ms: Milliseconds | None = None
    """From the context's first text (or its turn to speak, when it had to queue) to its first
    audio; left out when there was nothing to speak."""


class Cancelled(Message):
    """No more audio of this context follows; its last message."""

    type: Literal["cancelled"] = "cancelled"
    context_id: str
    sent_ms: Milliseconds
    """Audio that was sent before."""
    spoken_text: str
    """The text as it was received, up to the last word that was sent whole."""


ClientMessage = Start | Text | Flush | End | Cancel | Close
ServerMessage = Ready | AudioStarted | Words | Flushed | AudioFinished | Cancelled | Error


def client_codec() -> Codec[ClientMessage]:
    """Decodes what clients send."""
    return Codec(Start, Text, Flush, End, Cancel, Close)


def server_codec() -> Codec[ServerMessage]:
    """Decodes what the server sends; for clients."""
    return Codec(Ready, AudioStarted, Words, Flushed, AudioFinished, Cancelled, Error)
