"""The messages of `WS /v1/stream/asr`, protocol version 1. Times are milliseconds of audio."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from services.shared.protocol.base import Error, Message
from services.shared.protocol.codec import Codec

Milliseconds = Annotated[int, Field(ge=0)]


class Encoding(StrEnum):
    """What the binary messages hold."""

    PCM_S16LE = "pcm_s16le"
    PCM_F32LE = "pcm_f32le"
    MULAW = "mulaw"
    ALAW = "alaw"
    OPUS = "opus"
    """One raw Opus packet (RFC 6716) a message."""
    WEBM = "webm"
    """A live WebM/Opus stream, as the browser's MediaRecorder makes it, in chunks of any size."""


class TurnMode(StrEnum):
    SMART = "smart"
    """Smart Turn decides at a pause; silence alone after `max_silence_ms`."""
    SILENCE = "silence"
    """`silence_ms` of silence end the turn."""
    MANUAL = "manual"
    """Only `flush` and `stop` end the turn."""


class TurnOptions(Message):
    """When a speaker is taken to be done. What is left out, the service's configuration says."""

    mode: TurnMode | None = None
    threshold: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Smart Turn's probability above which the turn is complete."""
    silence_ms: Annotated[int, Field(ge=100, le=10_000)] | None = None
    max_silence_ms: Annotated[int, Field(ge=200, le=30_000)] | None = None


class Start(Message):
    """Client → server, optional and first: how to listen."""

    type: Literal["start"] = "start"
    encoding: Encoding = Encoding.PCM_S16LE
    sample_rate: Annotated[int, Field(ge=8000, le=48_000)] = 16_000
    channels: Annotated[int, Field(ge=1, le=2)] = 1
    language: Annotated[str, Field(min_length=2, max_length=10)] | None = None
    partials: bool = True
    word_timestamps: bool = False
    prompt: Annotated[str, Field(max_length=1000)] | None = None
    hotwords: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=80)], ...], Field(max_length=100)
    ] = ()
    turn: TurnOptions = TurnOptions()
    resumable: bool = False
    """A connection that is lost may be followed by another: see :class:`Resume`."""


class Flush(Message):
    """Client → server: end the current turn now."""

    type: Literal["flush"] = "flush"


class Stop(Message):
    """Client → server: no more audio; answer what is left, then close."""

    type: Literal["stop"] = "stop"


class Ready(Message):
    """Server → client, first: the session exists."""

    type: Literal["ready"] = "ready"
    session_id: str
    protocol: int
    model: str
    languages: tuple[str, ...]


class Resume(Message):
    """Client → server, in the URL's query: go on with a session whose connection was lost."""

    session_id: Annotated[str, Field(min_length=1, max_length=64)]
    last_event: Annotated[int, Field(ge=0)] = 0
    """The latest event that the client has got; 0: none."""


class Resumed(Message):
    """Server → client, first after a `Resume`; the events that were missed follow."""

    type: Literal["resumed"] = "resumed"
    session_id: str
    received: Annotated[int, Field(ge=0)]
    """As in :class:`Ack`; the client goes on with the message after these."""


class Ack(Message):
    """Server → client: need not be sent again. Only in sessions that can be resumed."""

    type: Literal["ack"] = "ack"
    received: Annotated[int, Field(ge=0)]
    """Messages of the session, text and binary, `start` included, that the service has got."""


class SessionEvent(Message):
    """What happens in a session, whichever connection tells of it."""

    event: Annotated[int, Field(ge=1)] | None = None
    """Counts from 1 in sessions that can be resumed; others do not have it."""


class SpeechStarted(SessionEvent):
    type: Literal["speech_started"] = "speech_started"
    start_ms: Milliseconds


class Partial(SessionEvent):
    """The turn so far that no final has covered; `stable_text` is a prefix that will not change."""

    type: Literal["partial"] = "partial"
    text: str
    stable_text: str
    start_ms: Milliseconds
    end_ms: Milliseconds


class TurnPending(SessionEvent):
    """The speaker may be done: `text` is what the final will say unless `turn_resumed` follows."""

    type: Literal["turn_pending"] = "turn_pending"
    text: str


class TurnResumed(SessionEvent):
    """The speaker went on; what was begun on `turn_pending` should be dropped."""

    type: Literal["turn_resumed"] = "turn_resumed"


class Word(Message):
    word: str
    start_ms: Milliseconds
    end_ms: Milliseconds
    confidence: float


class Timings(Message):
    """Where the time between the end of speech and this final went."""

    vad_wait_ms: int
    """Silence that was awaited before the turn was taken to be over."""
    queue_ms: int
    batch_size: int
    decode_ms: int
    turn_model_ms: int
    total_ms: int
    """From the last voiced audio being received to the final being sent."""
    speculative: bool
    """The decode had begun before the turn was over."""


class Final(SessionEvent):
    """Will not change. Exactly one with `turn_end` ends each turn."""

    type: Literal["final"] = "final"
    text: str
    start_ms: Milliseconds
    end_ms: Milliseconds
    turn_end: bool
    language: str | None = None
    confidence: float | None = None
    words: tuple[Word, ...] | None = None
    suppressed: str | None = None
    """Why recognised text was withheld, e.g. `no_speech`; then `text` is empty."""
    engine: str | None = None
    """Which engine answered, where the service has several that stand in for each other."""
    timings: Timings


class Stopped(SessionEvent):
    """Server → client, last: what was received. `dropped_ms` is 0 or a defect."""

    type: Literal["stopped"] = "stopped"
    received_ms: Milliseconds
    speech_ms: Milliseconds
    dropped_ms: Milliseconds


class Handover(SessionEvent):
    """Server → client, before `shutting_down`: all that was taken is answered; go on elsewhere."""

    type: Literal["handover"] = "handover"
    received: Annotated[int, Field(ge=0)]
    """As in :class:`Ack`; what comes after these is for another session."""
    received_ms: Milliseconds
    """The audio in them, as in :class:`Stopped`: where the other session's times begin."""
    speech_ms: Milliseconds
    dropped_ms: Milliseconds


ClientMessage = Start | Flush | Stop
ServerMessage = (
    Ready
    | Resumed
    | Ack
    | SpeechStarted
    | Partial
    | TurnPending
    | TurnResumed
    | Final
    | Stopped
    | Handover
    | Error
)


def client_codec() -> Codec[ClientMessage]:
    """Decodes what clients send."""
    return Codec(Start, Flush, Stop)


def server_codec() -> Codec[ServerMessage]:
    """Decodes what the server sends; for clients."""
    return Codec(
        Ready,
        Resumed,
        Ack,
        SpeechStarted,
        Partial,
        TurnPending,
        TurnResumed,
        Final,
        Stopped,
        Handover,
        Error,
    )
