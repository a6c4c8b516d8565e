"""How commands begin and end: with the settings, and with one sentence when they cannot go on."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from examples.voice_agent.store.errors import StoreError

if TYPE_CHECKING:
    from examples.voice_agent.settings import AgentSettings
    from examples.voice_agent.store.database import Database

Config = Annotated[
    Path | None,
    typer.Option(envvar="VOICE_AGENT_CONFIG", help="YAML file. [default: voice-agent.yaml]"),
]


@contextmanager
def told() -> Iterator[None]:
    """Turn what users can mend into one sentence and exit code 1."""
    from examples.voice_agent.store.database import DATABASE_ERRORS

    try:
        yield
    except StoreError as error:
        typer.echo(f"voice agent: {error}", err=True)
    except DATABASE_ERRORS as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        typer.echo(f"voice agent: {first}; is the database there and migrated?", err=True)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    else:
        return
    raise typer.Exit(1)


@asynccontextmanager
async def open_database(settings: "AgentSettings") -> "AsyncIterator[Database]":
    """Up to date, if the settings say so."""
    from examples.voice_agent.store.database import Database
    from examples.voice_agent.store.migrate import upgrade

    database = Database(settings.store)
    try:
        if settings.store.migrate:
            await upgrade(database)
        yield database
    finally:
        await database.close()


def with_database(
    config: Path | None, work: "Callable[[Database], Coroutine[Any, Any, None]]"
) -> None:
    """Run a command that needs the database."""

    from examples.voice_agent.settings import load_settings

    async def run() -> None:
        async with open_database(load_settings(config)) as database:
            await work(database)

    with told():
        asyncio.run(run())
