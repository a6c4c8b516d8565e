"""Reading what happened: conversations with their turns, tool calls, events and costs."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from sqlalchemy import Select, and_, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from examples.voice_agent.store.database import Database
from examples.voice_agent.store.errors import StoreError
from examples.voice_agent.store.models import (
    AgentVersionRow,
    ConversationRow,
    EventRow,
    ToolCallRow,
    TurnRow,
    UsageRow,
)

LOST = "lost"
"""The outcome of a conversation whose process died."""


class UnknownConversation(StoreError):
    pass


class BadCursor(StoreError):
    """Not a cursor that a page told."""


@dataclass(frozen=True, slots=True)
class ConversationFilter:
    agent: str | None = None
    caller: str | None = None
    called: str | None = None
    outcome: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    live: bool | None = None


@dataclass(frozen=True, slots=True)
class Conversation:
    row: ConversationRow
    agent_version: int | None
    cost: Decimal


@dataclass(frozen=True, slots=True)
class Page:
    conversations: Sequence[Conversation]
    """The newest first."""
    next: str | None
    """Cursor of the following page."""


@dataclass(frozen=True, slots=True)
class Transcript:
    conversation: Conversation
    turns: Sequence[TurnRow]
    tool_calls: Sequence[ToolCallRow]
    events: Sequence[EventRow]
    usage: Sequence[UsageRow]


class Conversations:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self, wanted: ConversationFilter, *, limit: int = 50, cursor: str | None = None
    ) -> Page:
        """Raises BadCursor."""
        row = ConversationRow
        query = _filtered(_selected(), wanted)
        if cursor is not None:
            at, last = _decode(cursor)
            query = query.where(or_(row.started_at < at, and_(row.started_at == at, row.id < last)))
        query = query.order_by(row.started_at.desc(), row.id.desc()).limit(limit + 1)
        async with self._database.session() as session:
            found = [
                Conversation(each[0], each[1], each[2]) for each in await session.execute(query)
            ]
        shown = found[:limit]
        return Page(shown, _encode(shown[-1].row) if len(found) > limit else None)

    async def get(self, conversation_id: str) -> Conversation:
        """Raises UnknownConversation."""
        async with self._database.session() as session:
            return await _get(session, conversation_id)

    async def transcript(self, conversation_id: str) -> Transcript:
        """Everything of one conversation. Raises UnknownConversation."""
        async with self._database.session() as session:
            conversation = await _get(session, conversation_id)
            turns = select(TurnRow).where(TurnRow.conversation_id == conversation_id)
            tools = select(ToolCallRow).where(ToolCallRow.conversation_id == conversation_id)
            events = select(EventRow).where(EventRow.conversation_id == conversation_id)
            usage = select(UsageRow).where(UsageRow.conversation_id == conversation_id)
            return Transcript(
                conversation,
                (await session.scalars(turns.order_by(TurnRow.turn, TurnRow.seq))).all(),
                (await session.scalars(tools.order_by(ToolCallRow.seq))).all(),
                (await session.scalars(events.order_by(EventRow.seq))).all(),
                (await session.scalars(usage.order_by(UsageRow.seq, UsageRow.what))).all(),
            )

    async def forget(self, conversation_id: str) -> str | None:
        """Delete a conversation that has ended, and tell the name of its recording.

        Raises:
            UnknownConversation: there is none, or it goes on.
        """
        async with self._database.session.begin() as session:
            found = await _get(session, conversation_id)
            if found.row.ended_at is None:
                raise UnknownConversation(f"conversation {conversation_id} goes on")
            await session.execute(
                delete(ConversationRow).where(ConversationRow.id == conversation_id)
            )
            return found.row.recording


async def close_lost(database: Database, instance: str, before_unix_s: float) -> int:
    """End the conversations that an earlier process of this name left open; tells how many.

    They end with their last entry. Raises what the database raises.
    """
    began = datetime.fromtimestamp(before_unix_s, UTC)
    row = ConversationRow
    open_ones = select(row.id, row.started_at).where(
        row.instance == instance, row.ended_at.is_(None), row.started_at < began
    )
    async with database.session.begin() as session:
        lost = (await session.execute(open_ones)).all()
        for conversation_id, started_at in lost:
            last_ms = await _last_ms(session, conversation_id)
            await session.execute(
                update(row)
                .where(row.id == conversation_id)
                .values(outcome=LOST, ended_at=started_at + timedelta(milliseconds=last_ms))
            )
    return len(lost)


async def _last_ms(session: AsyncSession, conversation_id: str) -> int:
    last = 0
    for table in (TurnRow, ToolCallRow, EventRow, UsageRow):
        query = select(func.max(table.at_ms)).where(table.conversation_id == conversation_id)
        last = max(last, await session.scalar(query) or 0)
    return last


async def _get(session: AsyncSession, conversation_id: str) -> Conversation:
    query = _selected().where(ConversationRow.id == conversation_id)
    found = (await session.execute(query)).first()
    if found is None:
        raise UnknownConversation(f"there is no conversation {conversation_id}")
    return Conversation(found[0], found[1], found[2])


def _selected() -> Select[ConversationRow, int, Decimal]:
    cost = (
        select(func.coalesce(func.sum(UsageRow.cost, type_=UsageRow.cost.type), 0, type_=_COST))
        .where(UsageRow.conversation_id == ConversationRow.id)
        .correlate(ConversationRow)
        .scalar_subquery()
    )
    return select(ConversationRow, AgentVersionRow.version, cost).outerjoin(
        AgentVersionRow, AgentVersionRow.id == ConversationRow.agent_version_id
    )


_COST = UsageRow.__table__.c.cost.type


def _filtered(
    query: Select[ConversationRow, int, Decimal], wanted: ConversationFilter
) -> Select[ConversationRow, int, Decimal]:
    row = ConversationRow
    for column, value in (
        (row.agent, wanted.agent),
        (row.caller, wanted.caller),
        (row.called, wanted.called),
        (row.outcome, wanted.outcome),
    ):
        if value is not None:
            query = query.where(column == value)
    if wanted.since is not None:
        query = query.where(row.started_at >= wanted.since)
    if wanted.until is not None:
        query = query.where(row.started_at < wanted.until)
    if wanted.live is not None:
        query = query.where(row.ended_at.is_(None) if wanted.live else row.ended_at.is_not(None))
    return query


def _encode(row: ConversationRow) -> str:
    return base64.urlsafe_b64encode(f"{row.started_at.isoformat()} {row.id}".encode()).decode()


def _decode(cursor: str) -> tuple[datetime, str]:
    try:
        text = base64.urlsafe_b64decode(cursor.encode()).decode()
        at, _, conversation_id = text.partition(" ")
        started_at = datetime.fromisoformat(at)
    except ValueError:
        raise BadCursor(f"{cursor!r:.60} is no cursor of a page") from None
    if started_at.tzinfo is None:
        raise BadCursor(f"{cursor!r:.60} is no cursor of a page")
    return started_at, conversation_id
