"""`voice agent route`: which agent takes the calls to which numbers."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from examples.voice_agent.cli.running import Config, with_database
from examples.voice_agent.store.errors import StoreError

if TYPE_CHECKING:
    from examples.voice_agent.store.database import Database


app = typer.Typer(no_args_is_help=True, help="Which agent takes the calls to which numbers.")


@app.command()
def add(
    pattern: Annotated[str, typer.Argument(help="As in Asterisk's dial plan, e.g. _1555XXXXXXX.")],
    agent: str,
    version: Annotated[int | None, typer.Option(help="[default: always the newest]")] = None,
    priority: Annotated[int, typer.Option(help="Lower ones are asked first.")] = 100,
    fallback: Annotated[str | None, typer.Option(help="Extension for when it is closed.")] = None,
    schedule: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="YAML: time_zone, hours …")
    ] = None,
    note: str = "",
    config: Config = None,
) -> None:
    """Make a route; prints its number."""
    import yaml
    from pydantic import ValidationError

    from examples.voice_agent.store.inbound_routes import InboundRoutes, RouteSettings
    from services.shared.protocol.codec import describe

    async def work(database: "Database") -> None:
        hours = {}
        if schedule is not None:
            text = await asyncio.to_thread(schedule.read_text, "utf-8")
            hours = {"schedule": yaml.safe_load(text)}
        fields = {
            "pattern": pattern, "agent": agent, "version": version, "priority": priority,
            "fallback": fallback, "note": note,
        }  # fmt: skip
        try:
            settings = RouteSettings.model_validate(fields | hours)
        except ValidationError as error:
            raise StoreError(describe(error)) from None
        typer.echo((await InboundRoutes(database).create(settings)).id)

    with_database(config, work)


@app.command("list")
def list_routes(config: Config = None) -> None:
    """All routes, in the order in which they are asked."""
    from rich.console import Console
    from rich.table import Table

    from examples.voice_agent.store.inbound_routes import InboundRoutes

    async def work(database: "Database") -> None:
        table = Table(
            "id", "pattern", "priority", "agent", "time zone", "fallback", "state", "note"
        )
        for each in await InboundRoutes(database).list():
            agent = each.agent if each.version is None else f"{each.agent} v{each.version}"
            zone, state = each.schedule.time_zone, "on" if each.enabled else "off"
            rest = (agent, zone, each.fallback or "", state, each.note)
            table.add_row(str(each.id), each.pattern, str(each.priority), *rest)
        Console().print(table)

    with_database(config, work)


@app.command()
def remove(route: Annotated[int, typer.Argument(help="Its id.")], config: Config = None) -> None:
    """Delete a route."""
    from examples.voice_agent.store.inbound_routes import InboundRoutes

    async def work(database: "Database") -> None:
        await InboundRoutes(database).delete(route)

    with_database(config, work)


@app.command()
def decide(called: str, config: Config = None) -> None:
    """Who would take a call to this number now?"""
    from examples.voice_agent.store.routing import Routing

    async def work(database: "Database") -> None:
        routing = Routing(database)
        await routing.renew()
        found = routing.decide(called)
        taker = f"{found.agent.agent} v{found.agent.version}" if found.agent else "nobody"
        typer.echo(f"{taker} ({found.reason}); fallback: {found.fallback or 'the dial plan'}")

    with_database(config, work)
