"""The `voice` command: a group of subcommands, each a module that is imported only when called.

To add one, put a module with a Typer `app` under `services/cli` and name it in `COMMANDS`. Heavy
imports belong into its functions, so that `voice --help` stays quick.
"""

import importlib
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
    Command("bench", "services.bench.cli"),
)


class LazyGroup(TyperGroup):
    """Finds its subcommands in `COMMANDS`, in that order."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [command.name for command in COMMANDS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        for command in COMMANDS:
            if command.name == cmd_name:
                return _load(command)
        return None


def _load(command: Command) -> Any:
    module = importlib.import_module(command.module)
    loaded = typer.main.get_command(module.app)
    loaded.name = command.name
    return loaded


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
