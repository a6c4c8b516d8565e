"""What happens in a call, as the dialogue is told of it, each with its time."""

from dataclasses import dataclass

from examples.voice_agent.ports import ToolCall, ToolResult, Usage

# The call.


@dataclass(frozen=True, slots=True)
class Answered:
    """The transport has picked up."""


@dataclass(frozen=True, slots=True)
class KeyPressed:
    digit: str


@dataclass(frozen=True, slots=True)
class Gone:
    """The call is over."""

    cause: str
    by_caller: bool


@dataclass(frozen=True, slots=True)
class TransferFailed:
    """The transport could not transfer; the call goes on."""

    reason: str


@dataclass(frozen=True, slots=True)
class Broken:
    """Something that cannot be repaired within this call."""

    reason: str


@dataclass(frozen=True, slots=True)
class Tick:
    """The deadline that the dialogue asked for is here."""


# The caller, heard by the ASR service.


@dataclass(frozen=True, slots=True)
class SpeechBegan:
    pass


@dataclass(frozen=True, slots=True)
class PartialHeard:
    text: str


@dataclass(frozen=True, slots=True)
class PendingHeard:
    """The caller may be done; `text` is what the final will say if so."""

    text: str


@dataclass(frozen=True, slots=True)
class SpeechResumed:
    """The caller was not done."""


@dataclass(frozen=True, slots=True)
class FinalHeard:
    text: str
    turn_end: bool
    confidence: float | None = None
    language: str | None = None
    speech_end_s: float | None = None
    decode_ms: int | None = None
    queue_ms: int | None = None
    turn_model_ms: int | None = None


@dataclass(frozen=True, slots=True)
class HearingReplaced:
    """Another ASR session took over: what the open turn had is told anew."""


@dataclass(frozen=True, slots=True)
class HearingLost:
    """The ASR service went away, and another session is tried for."""

    reason: str


@dataclass(frozen=True, slots=True)
class HearingBack:
    pass


# The language model. `request` tells which of the requests it belongs to.


@dataclass(frozen=True, slots=True)
class AnswerText:
    request: int
    text: str


@dataclass(frozen=True, slots=True)
class AnswerCall:
    request: int
    call: ToolCall


@dataclass(frozen=True, slots=True)
class AnswerDone:
    request: int
    finish_reason: str
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class AnswerFailed:
    request: int
    reason: str
    retryable: bool


@dataclass(frozen=True, slots=True)
class ToolFinished:
    call_id: str
    result: ToolResult


# Speech. `attempt` counts how often an utterance's text was given to the TTS service.


@dataclass(frozen=True, slots=True)
class TimedWord:
    word: str
    start_ms: float
    end_ms: float


@dataclass(frozen=True, slots=True)
class WordsTimed:
    """When words are heard, from the attempt's first sample."""

    utterance: int
    attempt: int
    words: tuple[TimedWord, ...]


@dataclass(frozen=True, slots=True)
class AudioCame:
    """More audio of an utterance is there to be sent."""

    utterance: int
    attempt: int
    ms: float


@dataclass(frozen=True, slots=True)
class AudioComplete:
    """All audio of an utterance is there."""

    utterance: int
    attempt: int


@dataclass(frozen=True, slots=True)
class SpeechFailed:
    """No more audio comes of this attempt."""

    utterance: int
    attempt: int
    reason: str


@dataclass(frozen=True, slots=True)
class AudioSent:
    """So much more of an utterance was handed to the transport."""

    utterance: int
    ms: float


@dataclass(frozen=True, slots=True)
class Heard:
    """A mark came back: the utterance has been played up to here."""

    utterance: int
    ms: float
    end: bool
    """All of it."""


Event = (
    Answered
    | KeyPressed
    | Gone
    | TransferFailed
    | Broken
    | Tick
    | SpeechBegan
    | PartialHeard
    | PendingHeard
    | SpeechResumed
    | FinalHeard
    | HearingReplaced
    | HearingLost
    | HearingBack
    | AnswerText
    | AnswerCall
    | AnswerDone
    | AnswerFailed
    | ToolFinished
    | WordsTimed
    | AudioCame
    | AudioComplete
    | SpeechFailed
    | AudioSent
    | Heard
)
