"""Versions of agents, and the routes that lead to them."""

import asyncio
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from examples.voice_agent.store.agents import Agents, UnknownAgent
from examples.voice_agent.store.database import Database
from examples.voice_agent.store.inbound_routes import (
    InboundRoutes,
    RouteExists,
    RouteSettings,
    UnknownRoute,
)
from examples.voice_agent.store.routing import Routing
from tests.examples.voice_agent.store.calls import agent, until


async def test_a_change_makes_a_version_and_no_change_makes_none(database: Database) -> None:
    agents = Agents(database)
    first = await agents.create(agent(), note="first", author="me")
    same = await agents.create(agent(), note="again")
    second = await agents.create(agent(prompt="You help quickly."))
    assert (first.version, same.id, second.version) == (1, first.id, 2)
    assert (await agents.get("helpdesk")).config.prompt == "You help quickly."
    old = await agents.get("helpdesk", 1)
    assert (old.config, old.note, old.author) == (agent(), "first", "me")
    assert old.created_at.tzinfo is UTC
    assert [each.version for each in await agents.versions("helpdesk")] == [2, 1]
    assert await agents.by_id(second.id) == second


async def test_many_who_change_an_agent_at_once_get_a_version_each(database: Database) -> None:
    agents = Agents(database)
    made = await asyncio.gather(*(agents.create(agent(prompt=f"{n}")) for n in range(4)))
    assert sorted(each.version for each in made) == [1, 2, 3, 4]


async def test_unknown_agents_are_told_so(database: Database) -> None:
    agents = Agents(database)
    await agents.create(agent())
    with pytest.raises(UnknownAgent, match="there is no agent sales"):
        await agents.get("sales")
    with pytest.raises(UnknownAgent, match="helpdesk version 9"):
        await agents.get("helpdesk", 9)


async def test_an_agent_that_cannot_be_understood_hides_no_other(database: Database) -> None:
    agents = Agents(database)
    await agents.create(agent())
    async with database.engine.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO agent_versions (agent, version, config, digest, note, author,"
                " created_at) VALUES ('old', 1, '{\"mood\": 1}', '', '', '', '2026-01-01 00:00:00')"
            )
        )
    assert [each.agent for each in await agents.newest()] == ["helpdesk"]


async def test_routes_are_unique_and_lead_to_agents_that_exist(database: Database) -> None:
    await Agents(database).create(agent())
    routes = InboundRoutes(database)
    first = await routes.create(RouteSettings(pattern="+1 555 0100", agent="helpdesk"))
    assert first.pattern == "15550100"
    with pytest.raises(RouteExists, match="15550100 with priority 100"):
        await routes.create(RouteSettings(pattern="1-555-0100", agent="helpdesk"))
    with pytest.raises(UnknownAgent):
        await routes.create(RouteSettings(pattern="1", agent="nobody"))
    other = await routes.create(RouteSettings(pattern="_1X.", agent="helpdesk", version=1))
    with pytest.raises(RouteExists):
        await routes.replace(other.id, RouteSettings(pattern="15550100", agent="helpdesk"))
    changed = await routes.replace(
        other.id, RouteSettings(pattern="_1X.", agent="helpdesk", fallback="200", priority=5)
    )
    assert (changed.id, changed.fallback) == (other.id, "200")
    assert [each.id for each in await routes.list()] == [other.id, first.id]
    await routes.delete(first.id)
    with pytest.raises(UnknownRoute):
        await routes.delete(first.id)
    with pytest.raises(UnknownRoute):
        await routes.get(first.id)


async def test_routing_knows_changes_soon_and_outlives_the_database(database: Database) -> None:
    agents, routes = Agents(database), InboundRoutes(database)
    await agents.create(agent())
    await agents.create(agent(prompt="Newer."))
    await routes.create(RouteSettings(pattern="_1X.", agent="helpdesk", fallback="200"))
    await routes.create(RouteSettings(pattern="2", agent="helpdesk", version=1))
    async with Routing(database, renew_s=0.05) as routing:
        newest = routing.decide("15550100", datetime.now(UTC))
        assert newest.agent is not None and newest.agent.version == 2
        assert (newest.fallback, newest.reason) == ("200", "open")
        pinned = routing.decide("2").agent
        assert pinned is not None and pinned.version == 1
        assert routing.decide("3").agent is None
        await routes.create(RouteSettings(pattern="3", agent="helpdesk"))
        await until(lambda: routing.decide("3").agent)
        async with database.engine.begin() as connection:
            await connection.execute(text("DROP TABLE inbound_routes"))
        await asyncio.sleep(0.3)
        assert routing.decide("3").agent is not None
