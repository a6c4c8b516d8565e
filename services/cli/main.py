"""The `voice` command: a group of subcommands, each a module that is imported only when called.

To add one, put a module with a Typer `app` under `services/cli` and name it in `COMMANDS`. Heavy
imports belong into its functions, so that `voice --help` stays quick. Other packages add theirs by
an entry point of the group `voice.commands`, which names such an app.
"""

import importlib
from importlib.metadata import entry_points
from typing import Any, NamedTuple

import typer
from typer.core import TyperGroup


class Command(NamedTuple):
    name: str
    module: str
    """Has a Typer named `app`: with one command it becomes that command, with more a group."""


COMMANDS: tuple[Command, ...] = (
    Command("demo", "services.cli.demo"),
    Command("up", "services.cli.up"),
    Command("transcribe", "services.cli.transcribe"),
    Command("say", "services.cli.say"),
    Command("voices", "services.cli.voices"),
    Command("models", "services.cli.models"),
    Command("doctor", "services.cli.doctor"),
    Command("nginx", "services.balancer.cli"),
    Command("bench", "services.bench.cli"),
)


def _plugged_in() -> tuple[Command, ...]:
    found = sorted(entry_points(group="voice.commands"), key=lambda each: each.name)
    return tuple(Command(each.name, each.module) for each in found)


class LazyGroup(TyperGroup):
    """Finds its subcommands in `COMMANDS`, in that order, and then among the plug-ins."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [command.name for command in (*COMMANDS, *_plugged_in())]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        for command in (*COMMANDS, *_plugged_in()):
            if command.name == cmd_name:
                return _load(command)
        return None


def _load(command: Command) -> Any:
    try:
        module = importlib.import_module(command.module)
    except ModuleNotFoundError as error:
        if command in COMMANDS:
            raise
        app = _unavailable(f"Not available: {error}; was its dependency group installed?")
    else:
        app = module.app
    loaded = typer.main.get_command(app)
    loaded.name = command.name
    return loaded


def _unavailable(reason: str) -> typer.Typer:
    """A command that says why it is none: one plug-in that lacks a library spoils no other."""
    stub = typer.Typer(add_completion=False)

    @stub.command(
        help=reason, context_settings={"allow_extra_args": True, "ignore_unknown_options": True}
    )
    def tell() -> None:
        typer.echo(reason, err=True)
        raise typer.Exit(1)

    return stub


app = typer.Typer(
    name="voice",
    cls=LazyGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    help="Self-hosted streaming speech: recognise, speak, and look after the models.",
)


@app.callback()
def voice() -> None:
    """Self-hosted streaming speech: recognise, speak, and look after the models."""


def main() -> None:
    """Entry point of the `voice` script."""
    app()


if __name__ == "__main__":
    main()
