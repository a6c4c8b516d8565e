"""Commands of other packages, found by entry points and imported only when they are called."""

import importlib
from importlib.metadata import entry_points
from typing import Any, NamedTuple

import typer


class Command(NamedTuple):
    name: str
    module: str
    """Has a Typer named `app`: with one command it becomes that command, with more a group."""


def plugged_in(group: str) -> tuple[Command, ...]:
    """What the installed packages offer under a group of entry points, by name."""
    found = sorted(entry_points(group=group), key=lambda each: each.name)
    return tuple(Command(each.name, each.module) for each in found)


def load(command: Command) -> Any:
    """Import it; gives what Click calls a command.

    Raises:
        ModuleNotFoundError: it, or a library that it needs, is not installed.
    """
    app = importlib.import_module(command.module).app
    return _named(app, command.name)


def load_plugin(command: Command) -> Any:
    """The same of a plug-in: one that lacks a library says so when called, and spoils no other."""
    try:
        return load(command)
    except ModuleNotFoundError as error:
        app = _unavailable(f"Not available: {error}; was its dependency group installed?")
        return _named(app, command.name)


def _named(app: typer.Typer, name: str) -> Any:
    loaded = typer.main.get_command(app)
    loaded.name = name
    return loaded


def _unavailable(reason: str) -> typer.Typer:
    stub = typer.Typer(add_completion=False)

    @stub.command(
        help=reason, context_settings={"allow_extra_args": True, "ignore_unknown_options": True}
    )
    def tell() -> None:
        typer.echo(reason, err=True)
        raise typer.Exit(1)

    return stub
