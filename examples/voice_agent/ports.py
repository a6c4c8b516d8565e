"""What a conversation asks of others: a language model, tools, a journal, a recording.

The transport's seam is in :mod:`.transport`. All of these are Protocols, so whoever implements one
needs nothing of the conversation but this file. Times are `time.monotonic()` in seconds unless
their name says otherwise.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, Protocol

from examples.voice_agent.transport import CallInfo

# The language model.


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model wants a tool to be run: whole, never a fragment; also when it came as text."""

    call_id: str
    """Unique in the conversation; the result refers to it."""
    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message of the history, as OpenAI's chat API knows them."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    """Of an assistant."""
    tool_call_id: str | None = None
    """Of a tool: which call this is the result of."""


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as the model is told of it, and what the conversation must know of it."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    """JSON schema of an object."""
    side_effects: bool = True
    """False: it only reads, and may run before it is sure that the caller's turn is over."""


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More of the answer, to be spoken; never a piece of a tool call."""

    text: str


@dataclass(frozen=True, slots=True)
class Usage:
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    """Of the prompt, those that the server had in its prefix cache."""


@dataclass(frozen=True, slots=True)
class AnswerEnd:
    """The model is done; the last delta."""

    finish_reason: str
    """As the server names it: "stop", "length", "tool_calls" …"""
    usage: Usage | None = None


Delta = TextDelta | ToolCall | AnswerEnd


class LanguageModelError(Exception):
    """The model cannot be reached, refused, broke off, or took too long."""

    def __init__(self, message: str, *, code: str, retryable: bool) -> None:
        super().__init__(message)
        self.code = code
        self.retryable = retryable


class LanguageModel(Protocol):
    """Any OpenAI-compatible endpoint with its model and parameters."""

    def stream(
        self, messages: Sequence[ChatMessage], tools: Sequence[ToolSpec]
    ) -> AsyncIterator[Delta]:
        """An answer as it is written; ends with :class:`AnswerEnd`.

        Closing the iterator (`aclose`, or cancelling its reader) ends the request at the server.
        Both the wait for the first delta and those for later ones are limited.

        Raises:
            LanguageModelError: while iterating.
        """
        ...

    async def warm(self, messages: Sequence[ChatMessage], tools: Sequence[ToolSpec]) -> None:
        """Connect, and have the server compute this prefix. Never raises; failing is no harm."""
        ...


# Tools.


@dataclass(frozen=True, slots=True)
class EndCall:
    """Hang up once the last word has been heard."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class TransferCall:
    """Blind transfer once the last word has been heard."""

    target: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class SendDigits:
    digits: str


CallAction = EndCall | TransferCall | SendDigits


@dataclass(frozen=True, slots=True)
class ToolContext:
    """Who a tool is run for."""

    call: CallInfo
    language: str


@dataclass(frozen=True, slots=True)
class ToolResult:
    content: str
    """For the model; the conversation cuts it to its limit."""
    ok: bool = True
    action: CallAction | None = None
    """What the conversation shall do to the call: tools never touch it themselves."""


class ToolBox(Protocol):
    """The tools of one agent."""

    @property
    def specs(self) -> Sequence[ToolSpec]: ...

    async def run(self, call: ToolCall, context: ToolContext) -> ToolResult:
        """Run a tool to its end within its own time limit, with its own retries.

        Never raises but for cancellation: an unknown tool, wrong arguments, a failure and a time
        limit are results with `ok=False` and a sentence that helps the model.
        """
        ...


# The journal: what happened, for the store, for live listeners, for the benchmark.


@dataclass(frozen=True, slots=True)
class TurnTimes:
    """When the stages of one answer were passed; None: not passed."""

    speech_end_s: float | None = None
    """The caller's last sound, as the ASR service's word has it."""
    turn_pending_s: float | None = None
    asr_final_s: float | None = None
    llm_start_s: float | None = None
    llm_first_s: float | None = None
    tts_first_s: float | None = None
    wire_first_s: float | None = None
    """The first audio of the answer was handed to the transport."""
    played_s: float | None = None
    """The answer's last mark: everything was heard."""


class Speculation(StrEnum):
    """What became of the answer that was begun before the turn was over."""

    NONE = "none"
    HIT = "hit"
    MISS = "miss"


class Outcome(StrEnum):
    """How a call ended."""

    CALLER_HUNG_UP = "caller_hung_up"
    AGENT_ENDED = "agent_ended"
    TRANSFERRED = "transferred"
    SILENCE = "silence"
    TOO_LONG = "too_long"
    FALLBACK = "fallback"
    """Something failed for good, and the caller was handed to the fallback."""
    FAILED = "failed"
    """Something failed for good, and there was no fallback."""
    DECLINED = "declined"
    """Nobody took it: no agent is responsible, or none works at this time."""


@dataclass(frozen=True, slots=True)
class CallBegan:
    at_s: float
    unix_s: float
    """`time.time()` at `at_s`: turns the times of all entries into dates."""
    info: CallInfo
    agent: str
    language: str


@dataclass(frozen=True, slots=True)
class CallAnswered:
    at_s: float


@dataclass(frozen=True, slots=True)
class CallerTurn:
    """What the caller said."""

    at_s: float
    turn: int
    """Counts from 1 over the turns of both sides."""
    text: str
    confidence: float | None = None
    language: str | None = None
    by_keys: bool = False
    """Typed on the telephone's keys, not spoken."""


@dataclass(frozen=True, slots=True)
class AgentTurn:
    """What the agent said, written when it fell silent, whatever the reason."""

    at_s: float
    turn: int
    kind: str
    """"answer", or which fixed sentence: "greeting", "filler", "silence_prompt", "apology" …"""
    generated: str
    spoken: str
    """The part that was heard, by marks and word times."""
    interrupted_at_ms: int | None = None
    """Audio of this turn that was heard before the caller broke in."""
    times: TurnTimes = field(default_factory=TurnTimes)
    speculation: Speculation = Speculation.NONE


@dataclass(frozen=True, slots=True)
class ToolRan:
    at_s: float
    turn: int
    call: ToolCall
    result: ToolResult
    duration_s: float


@dataclass(frozen=True, slots=True)
class UsageNoted:
    """What one request to the language model cost; also of answers that were thrown away."""

    at_s: float
    model: str
    usage: Usage


@dataclass(frozen=True, slots=True)
class Happened:
    """Everything else: "barge_in", "false_barge_in", "digit", "asr_lost", "turn_pending" …"""

    at_s: float
    what: str
    data: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CallEnded:
    """The last entry."""

    at_s: float
    outcome: Outcome
    cause: str
    by_caller: bool
    asr_audio_s: float = 0.0
    """Seconds of audio that were sent to the ASR service."""
    tts_characters: int = 0
    """Sent to the TTS service."""


Entry = (
    CallBegan | CallAnswered | CallerTurn | AgentTurn | ToolRan | UsageNoted | Happened | CallEnded
)


class Journal(Protocol):
    """Gets every entry of one call, in order, :class:`CallBegan` first, :class:`CallEnded` last."""

    def write(self, entry: Entry) -> None:
        """Must neither block nor raise: queue it, bounded, and let another task store it."""
        ...


class Recording(Protocol):
    """Gets the audio of both sides in the transport's format, as it was heard."""

    def caller(self, data: bytes, at_s: float) -> None:
        """What the caller said; `at_s`: arrival of its end. Must neither block nor raise."""
        ...

    def agent(self, data: bytes, at_s: float) -> None:
        """What was played to the caller; `at_s`: when its beginning was heard."""
        ...
