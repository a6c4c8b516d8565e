"""The journals of calls, out of the store that the bridge writes to."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC

from examples.asterisk_bridge.bench.stages import CallJournal, JournalEvent, JournalTurn
from examples.voice_agent.settings import AgentSettings
from examples.voice_agent.store.conversations import (
    ConversationFilter,
    Conversations,
    Transcript,
)
from examples.voice_agent.store.store import open_store

_WRITTEN_S = 5.0
_POLL_S = 0.1


@asynccontextmanager
async def open_journals(settings: AgentSettings) -> AsyncIterator[Conversations]:
    """For reading, beside the bridge."""
    config = settings.store.model_copy(update={"migrate": False})
    async with open_store(config, instance="bench-reader") as store:
        yield store.conversations


async def journal_of(conversations: Conversations, caller: str) -> CallJournal | None:
    """Of the latest call of this number, once it is over; None: there is none in time."""
    wanted = ConversationFilter(caller=caller)
    for _ in range(round(_WRITTEN_S / _POLL_S)):
        found = (await conversations.page(wanted, limit=1)).conversations
        if found and found[0].row.ended_at is not None:
            return _journal(await conversations.transcript(found[0].row.id))
        await asyncio.sleep(_POLL_S)
    return None


def _journal(told: Transcript) -> CallJournal:
    started = told.conversation.row.started_at
    return CallJournal(
        began_unix_s=started.replace(tzinfo=started.tzinfo or UTC).timestamp(),
        turns=[
            JournalTurn(
                kind=turn.kind,
                speculation=turn.speculation,
                speech_end_ms=turn.speech_end_ms,
                turn_pending_ms=turn.turn_pending_ms,
                asr_final_ms=turn.asr_final_ms,
                llm_start_ms=turn.llm_start_ms,
                llm_first_ms=turn.llm_first_ms,
                tts_first_ms=turn.tts_first_ms,
                wire_first_ms=turn.wire_first_ms,
            )
            for turn in told.turns
            if turn.role == "agent"
        ],
        events=[JournalEvent(each.at_ms, each.what, dict(each.data)) for each in told.events],
    )
