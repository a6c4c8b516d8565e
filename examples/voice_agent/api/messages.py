"""What the API tells and is told."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from examples.voice_agent.config import AgentConfig
from examples.voice_agent.store.agents import AgentVersion
from examples.voice_agent.store.conversations import Conversation, Transcript


class Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", from_attributes=True)


class ErrorTold(Body):
    """Every failure, the services' shape."""

    type: Literal["error"]
    code: str
    """What programs tell failures apart by."""
    message: str
    retryable: bool
    """The same request may succeed later."""


class NewAgent(Body):
    config: AgentConfig
    note: str = Field(default="", max_length=1000)
    """Why it was changed."""


class AgentVersionTold(Body):
    id: int
    agent: str
    version: int
    note: str
    author: str
    """The name of the key."""
    created_at: datetime
    config: AgentConfig

    @classmethod
    def of(cls, version: AgentVersion) -> Self:
        return cls.model_validate(version)


class RouteDecision(Body):
    agent: str | None
    """None: the call goes to the fallback."""
    version: int | None
    route_id: int | None
    fallback: str | None
    reason: str


class ConversationTold(Body):
    id: str
    instance: str
    call_id: str
    caller: str
    called: str
    agent: str
    agent_version: int | None
    route_id: int | None
    language: str
    started_at: datetime
    answered_at: datetime | None
    ended_at: datetime | None
    outcome: str | None
    cause: str | None
    ended_by_caller: bool | None
    consent: str | None
    has_recording: bool
    cost: Decimal
    currency: str | None

    @classmethod
    def of(cls, conversation: Conversation) -> Self:
        row = conversation.row
        fields = {name: getattr(row, name, None) for name in cls.model_fields}
        fields |= {
            "agent_version": conversation.agent_version,
            "has_recording": bool(row.recording),
            "cost": conversation.cost,
        }
        return cls.model_validate(fields)


class ConversationPage(Body):
    conversations: Sequence[ConversationTold]
    next: str | None
    """Give it as `cursor` for the next page."""


class TurnTold(Body):
    turn: int
    role: str
    kind: str
    at_ms: int
    """When it was written; all times count from the conversation's beginning."""
    text_generated: str
    text_spoken: str
    confidence: float | None
    language: str | None
    interrupted_at_ms: int | None
    speculation: str | None
    speech_end_ms: int | None
    turn_pending_ms: int | None
    asr_final_ms: int | None
    llm_start_ms: int | None
    llm_first_ms: int | None
    tts_first_ms: int | None
    wire_first_ms: int | None
    played_ms: int | None


class ToolCallTold(Body):
    turn: int
    at_ms: int
    name: str
    arguments: dict[str, Any]
    ok: bool
    content: str
    action: dict[str, Any] | None
    duration_ms: int


class EventTold(Body):
    at_ms: int
    what: str
    data: dict[str, Any]


class UsageTold(Body):
    at_ms: int
    what: str
    model: str | None
    prompt_tokens: int | None
    cached_tokens: int | None
    completion_tokens: int | None
    audio_ms: int | None
    characters: int | None
    cost: Decimal


class TranscriptTold(Body):
    conversation: ConversationTold
    turns: Sequence[TurnTold]
    tool_calls: Sequence[ToolCallTold]
    events: Sequence[EventTold]
    usage: Sequence[UsageTold]

    @classmethod
    def of(cls, transcript: Transcript) -> Self:
        return cls(
            conversation=ConversationTold.of(transcript.conversation),
            turns=[TurnTold.model_validate(row) for row in transcript.turns],
            tool_calls=[ToolCallTold.model_validate(row) for row in transcript.tool_calls],
            events=[EventTold.model_validate(row) for row in transcript.events],
            usage=[UsageTold.model_validate(row) for row in transcript.usage],
        )


class LiveCallTold(Body):
    conversation: str
    caller: str
    called: str
    agent: str
    language: str
    started_unix_s: float
    answered: bool
