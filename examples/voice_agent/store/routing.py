"""Says at once who takes a call, from a copy of routes and agents that is renewed every moment.

The copy outlives a database that goes away: calls are routed as when it was last seen.
"""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

import structlog

from examples.voice_agent.routes import Route, route_call
from examples.voice_agent.store.agents import Agents, AgentVersion
from examples.voice_agent.store.database import DATABASE_ERRORS, Database
from examples.voice_agent.store.errors import StoreError
from examples.voice_agent.store.inbound_routes import InboundRoutes

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Assignment:
    """What becomes of a call."""

    agent: AgentVersion | None
    """Who takes it; None: nobody, so it goes to the fallback."""
    route_id: int | None
    fallback: str | None
    """An extension; None: the dial plan goes on. Also for when the agent is full or broken."""
    reason: str
    """"open", "closed", "no_route" or "unknown_agent"."""


class Routing:
    """One for each process; owns the task that renews. Use it as a context manager."""

    def __init__(self, database: Database, *, renew_s: float = 2.0) -> None:
        self._agents = Agents(database)
        self._inbound = InboundRoutes(database)
        self._renew_s = renew_s
        self._limit_s = database.config.connect_s
        self._routes: tuple[Route, ...] = ()
        self._newest: dict[str, AgentVersion] = {}
        self._pinned: dict[tuple[str, int], AgentVersion | None] = {}
        self._away = False
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """With a first copy, unless the database is away."""
        await self._try_renew()
        self._task = asyncio.create_task(self._renew_forever(), name="routing")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def decide(self, called: str, at: datetime | None = None) -> Assignment:
        """Who takes a call to this number. `at`: now, or a time with its zone."""
        decision = route_call(self._routes, called, at or datetime.now(UTC))
        route_id = decision.route.id if decision.route else None
        if decision.agent is None:
            return Assignment(None, route_id, decision.fallback, decision.reason)
        agent = self._agent(*decision.agent)
        reason = decision.reason if agent else "unknown_agent"
        return Assignment(agent, route_id, decision.fallback, reason)

    async def renew(self) -> None:
        """Read everything anew. Raises what the database raises."""
        async with asyncio.timeout(self._limit_s):
            routes = tuple(stored.route() for stored in await self._inbound.list())
            newest = {version.agent: version for version in await self._agents.newest()}
            wanted = {(each.agent, each.version or 0) for each in routes if each.version}
            pinned = {key: self._pinned.get(key) or await self._pin(*key) for key in wanted}
        self._routes, self._newest, self._pinned = routes, newest, pinned

    async def _pin(self, agent: str, version: int) -> AgentVersion | None:
        try:
            return await self._agents.get(agent, version)
        except StoreError as error:
            log.error("a route leads nowhere", error=str(error))
            return None

    def _agent(self, agent: str, version: int | None) -> AgentVersion | None:
        return self._newest.get(agent) if version is None else self._pinned.get((agent, version))

    async def _renew_forever(self) -> None:
        while True:
            await asyncio.sleep(self._renew_s)
            await self._try_renew()

    async def _try_renew(self) -> None:
        try:
            await self.renew()
            self._away = False
        except (StoreError, *DATABASE_ERRORS) as error:
            if not self._away:
                log.warning("routes cannot be read; the old ones go on", error=str(error))
            self._away = True
