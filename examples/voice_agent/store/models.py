"""The tables. What they hold is told in the README beside this file.

Names and types are those that both SQLite and PostgreSQL have. Times within a conversation are
milliseconds since it began, so that they fit its recording; dates are in UTC.
"""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    Numeric,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class UtcTime(TypeDecorator[datetime]):
    """Dates with their zone, also in SQLite, which keeps none. Takes Unix seconds, too."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(
        self, value: datetime | float | None, dialect: Dialect
    ) -> datetime | None:
        if isinstance(value, int | float):
            return datetime.fromtimestamp(value, UTC)
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a date without a time zone cannot be kept")
        return value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        found: datetime = value
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


class ExactCost(TypeDecorator[Decimal]):
    """Nine decimal places, as an integer in SQLite, which has no decimals of its own."""

    impl = Numeric(18, 9)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        if dialect.name == "sqlite":
            return dialect.type_descriptor(Integer())
        return dialect.type_descriptor(Numeric(18, 9))

    def process_bind_param(self, value: Decimal | str | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        exact = Decimal(value)
        return int(exact.scaleb(9).to_integral_value()) if dialect.name == "sqlite" else exact

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        if value is None:
            return None
        return Decimal(value).scaleb(-9) if dialect.name == "sqlite" else Decimal(value)


Json = JSON().with_variant(JSONB(), "postgresql")


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=_CONVENTION)
    type_annotation_map = {
        datetime: UtcTime,
        Decimal: ExactCost,
        dict[str, Any]: Json,
        bool: Boolean(create_constraint=False),
        float: Double,
        str: Text,
    }


class AgentVersionRow(Base):
    """One version of an agent. Never changed and never deleted; triggers see to it."""

    __tablename__ = "agent_versions"
    __table_args__ = (UniqueConstraint("agent", "version"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    agent: Mapped[str] = mapped_column(String(100))
    version: Mapped[int]
    config: Mapped[dict[str, Any]]
    digest: Mapped[str] = mapped_column(String(64))
    """SHA-256 of the configuration: the same one is not stored twice in a row."""
    note: Mapped[str]
    author: Mapped[str]
    created_at: Mapped[datetime]


class InboundRouteRow(Base):
    __tablename__ = "inbound_routes"
    __table_args__ = (UniqueConstraint("pattern", "priority"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    pattern: Mapped[str] = mapped_column(String(80))
    priority: Mapped[int]
    agent: Mapped[str] = mapped_column(String(100))
    version: Mapped[int | None]
    """None: the newest."""
    schedule: Mapped[dict[str, Any]]
    fallback: Mapped[str | None]
    enabled: Mapped[bool]
    note: Mapped[str]
    updated_at: Mapped[datetime]


class ConversationRow(Base):
    __tablename__ = "conversations"
    __table_args__ = (
        Index("ix_conversations_started", "started_at", "id"),
        Index("ix_conversations_agent", "agent", "started_at"),
        ForeignKeyConstraint(["agent_version_id"], ["agent_versions.id"]),
    )

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    instance: Mapped[str] = mapped_column(String(64))
    """The process that carried the call."""
    call_id: Mapped[str]
    """The transport's own name of the call."""
    caller: Mapped[str]
    called: Mapped[str]
    variables: Mapped[dict[str, Any]]
    agent: Mapped[str]
    agent_version_id: Mapped[int | None]
    route_id: Mapped[int | None]
    """Without a foreign key: routes may be deleted, what happened remains."""
    language: Mapped[str]
    started_at: Mapped[datetime]
    answered_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    outcome: Mapped[str | None] = mapped_column(String(32))
    """As ports.Outcome has them, or "lost": the process died."""
    cause: Mapped[str | None]
    ended_by_caller: Mapped[bool | None]
    consent: Mapped[str | None] = mapped_column(String(16))
    """Whether the caller may be recorded: "given", "refused"; None: nobody asked."""
    recording: Mapped[str | None]
    """The file's name in the folder of recordings."""
    currency: Mapped[str | None] = mapped_column(String(8))


class _OfConversation:
    """What belongs to a conversation is numbered within it."""

    conversation_id: Mapped[str] = mapped_column(
        String(64), ForeignKey("conversations.id", ondelete="CASCADE"), primary_key=True
    )
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """The entry's number in the journal: writing an entry again changes nothing."""
    at_ms: Mapped[int]


class TurnRow(_OfConversation, Base):
    __tablename__ = "turns"

    turn: Mapped[int]
    role: Mapped[str] = mapped_column(String(8))
    """"caller" or "agent"."""
    kind: Mapped[str] = mapped_column(String(32))
    """Of the caller: "speech" or "keys". Of the agent: "answer", or which fixed sentence."""
    text_generated: Mapped[str]
    text_spoken: Mapped[str]
    """What was heard of it; the caller's own words are in both."""
    confidence: Mapped[float | None]
    language: Mapped[str | None]
    interrupted_at_ms: Mapped[int | None]
    """Of the turn's own audio."""
    speculation: Mapped[str | None] = mapped_column(String(8))
    speech_end_ms: Mapped[int | None]
    turn_pending_ms: Mapped[int | None]
    asr_final_ms: Mapped[int | None]
    llm_start_ms: Mapped[int | None]
    llm_first_ms: Mapped[int | None]
    tts_first_ms: Mapped[int | None]
    wire_first_ms: Mapped[int | None]
    played_ms: Mapped[int | None]


class ToolCallRow(_OfConversation, Base):
    __tablename__ = "tool_calls"

    turn: Mapped[int]
    call_id: Mapped[str]
    name: Mapped[str]
    arguments: Mapped[dict[str, Any]]
    ok: Mapped[bool]
    content: Mapped[str]
    action: Mapped[dict[str, Any] | None] = mapped_column(Json)
    duration_ms: Mapped[int]


class EventRow(_OfConversation, Base):
    """Everything else that happened. Rows are never changed; a trigger sees to it."""

    __tablename__ = "events"

    what: Mapped[str]
    data: Mapped[dict[str, Any]]


class UsageRow(_OfConversation, Base):
    """What was used, with what it cost when it was used."""

    __tablename__ = "usage"

    what: Mapped[str] = mapped_column(String(8), primary_key=True)
    """"llm", "asr" or "tts"."""
    model: Mapped[str | None]
    prompt_tokens: Mapped[int | None]
    cached_tokens: Mapped[int | None]
    completion_tokens: Mapped[int | None]
    audio_ms: Mapped[int | None]
    characters: Mapped[int | None]
    cost: Mapped[Decimal]
