"""`voice agent`: agents, routes and conversations. Heavy imports belong into the functions."""

import asyncio
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from examples.voice_agent.cli import conversations, doctor, routes
from examples.voice_agent.cli.running import Config, told, with_database
from examples.voice_agent.store.errors import StoreError

if TYPE_CHECKING:
    from examples.voice_agent.settings import AgentSettings
    from examples.voice_agent.store.database import Database


app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="The telephone agent: agents, routes, conversations.",
)
app.add_typer(routes.app, name="route")
app.add_typer(conversations.app, name="conversations")
app.command("doctor")(doctor.doctor)


@app.callback()
def agent() -> None:
    """The telephone agent: agents, routes, conversations."""
    if importlib.util.find_spec("sqlalchemy") is None:
        typer.echo("voice agent: its libraries are missing: uv sync --group agent", err=True)
        raise typer.Exit(1)


@app.command()
def create(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="YAML or JSON.")],
    note: Annotated[str, typer.Option(help="Why it was changed.")] = "",
    config: Config = None,
) -> None:
    """Make an agent, or a new version of one."""
    import getpass

    from examples.voice_agent.cli.files import read_agent
    from examples.voice_agent.store.agents import Agents

    async def work(database: "Database") -> None:
        agent = await asyncio.to_thread(read_agent, file)
        made = await Agents(database).create(agent, note=note, author=getpass.getuser())
        typer.echo(f"{made.agent} version {made.version}")

    with_database(config, work)


@app.command("list")
def list_agents(config: Config = None) -> None:
    """The newest version of every agent."""
    from rich.console import Console
    from rich.table import Table

    from examples.voice_agent.store.agents import Agents

    async def work(database: "Database") -> None:
        table = Table("agent", "version", "language", "model", "made", "by", "note")
        for each in await Agents(database).newest():
            made = f"{each.created_at:%Y-%m-%d %H:%M} UTC"
            told_of = (each.config.language, each.config.llm.model, made, each.author, each.note)
            table.add_row(each.agent, str(each.version), *told_of)
        Console().print(table)

    with_database(config, work)


@app.command()
def show(
    agent: str,
    version: Annotated[int | None, typer.Option(help="[default: the newest]")] = None,
    config: Config = None,
) -> None:
    """An agent's configuration, as YAML that `create` takes."""
    import yaml

    from examples.voice_agent.store.agents import Agents

    async def work(database: "Database") -> None:
        found = await Agents(database).get(agent, version)
        fields = found.config.model_dump(mode="json", exclude_defaults=True)
        typer.echo(yaml.safe_dump(fields, allow_unicode=True, sort_keys=False), nl=False)

    with_database(config, work)


@app.command()
def migrate(config: Config = None) -> None:
    """Bring the database up to date."""
    from examples.voice_agent.settings import load_settings
    from examples.voice_agent.store.database import Database
    from examples.voice_agent.store.migrate import upgrade

    async def work() -> None:
        database = Database(load_settings(config).store)
        try:
            typer.echo(f"the database is at {await upgrade(database)}")
        finally:
            await database.close()

    with told():
        asyncio.run(work())


@app.command()
def key(
    name: Annotated[str, typer.Argument(help="Whose it will be: letters, digits, . _ - @")],
) -> None:
    """Make an API key: it is shown once; the line goes into `api.keys_file`."""
    import re

    from examples.voice_agent.api.keys import key_digest, new_key

    with told():
        if not re.fullmatch(r"[\w.@-]{1,64}", name):
            raise StoreError(f"{name!r} is no name for a key")
    made = new_key()
    typer.echo(f"key, for its holder:        {made}", err=True)
    typer.echo("line, for api.keys_file:", err=True)
    typer.echo(f"{name} {key_digest(made)}")


@app.command()
def serve(config: Config = None) -> None:
    """The management API alone, without calls; a bridge has it built in."""
    from examples.voice_agent.settings import load_settings

    with told():
        asyncio.run(_serve(load_settings(config)))


async def _serve(settings: "AgentSettings") -> None:
    from examples.voice_agent.api.app import create_app, serving
    from examples.voice_agent.stopping import told_to_end
    from examples.voice_agent.store.store import open_store
    from examples.voice_agent.vitals import observing

    stopping = told_to_end()
    instance = f"{settings.instance}-api"
    async with (
        observing() as vitals,
        open_store(settings.store, instance=instance, registry=vitals.registry) as store,
    ):
        app = create_app(store, settings.api, vitals=vitals)
        async with serving(app, settings.api) as url:
            typer.echo(f"{url}/docs", err=True)
            await stopping.wait()
