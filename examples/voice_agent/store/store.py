"""All of the store, as a program that carries calls holds it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import structlog
from prometheus_client import CollectorRegistry

from examples.voice_agent.live import LiveCalls
from examples.voice_agent.store.agents import Agents
from examples.voice_agent.store.config import StoreConfig
from examples.voice_agent.store.conversations import Conversations
from examples.voice_agent.store.database import Database
from examples.voice_agent.store.errors import StoreError
from examples.voice_agent.store.inbound_routes import InboundRoutes
from examples.voice_agent.store.journal import JournalWriter
from examples.voice_agent.store.metrics import JournalMetrics
from examples.voice_agent.store.migrate import upgrade
from examples.voice_agent.store.recordings import Recordings
from examples.voice_agent.store.routing import Routing

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Store:
    config: StoreConfig
    database: Database
    agents: Agents
    routes: InboundRoutes
    conversations: Conversations
    recordings: Recordings
    journal: JournalWriter
    routing: Routing
    live: LiveCalls


@asynccontextmanager
async def open_store(
    config: StoreConfig, *, instance: str, registry: CollectorRegistry | None = None
) -> AsyncIterator[Store]:
    """The store, also while its database is away: calls must go on.

    Args:
        instance: names this process among those that share the database; the same after a restart.
        registry: for metrics.

    Raises:
        StoreError: the configuration names no database that we know.
    """
    database, live = Database(config), LiveCalls()
    journal = JournalWriter(
        database, instance=instance, live=live, metrics=JournalMetrics(registry)
    )
    routing, recordings = Routing(database), Recordings(config.recording)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(database.close)
        if config.migrate and not await _migrated(database):
            later = asyncio.create_task(_migrate_later(database), name="migrations")
            stack.push_async_callback(_end, later)
        await stack.enter_async_context(recordings)
        await stack.enter_async_context(journal)
        await stack.enter_async_context(routing)
        yield Store(
            config,
            database,
            Agents(database),
            InboundRoutes(database),
            Conversations(database),
            recordings,
            journal,
            routing,
            live,
        )


async def _migrated(database: Database) -> bool:
    try:
        await upgrade(database)
    except StoreError as error:
        log.error("the store is not usable yet", error=str(error))
        return False
    return True


async def _migrate_later(database: Database) -> None:
    done = False
    while not done:
        await asyncio.sleep(database.config.journal.retry_s)
        done = await _migrated(database)


async def _end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
