"""The `voice` command: a group of subcommands, each a module that is imported only when called.

To add one, put a module with a Typer `app` under `services/cli` and name it in `COMMANDS`. Heavy
imports belong into its functions, so that `voice --help` stays quick. Other packages add theirs by
an entry point of the group `voice.commands`, which names such an app.
"""

from typing import Any

import typer
from typer.core import TyperGroup

from services.cli.plugins import Command, load, load_plugin, plugged_in

PLUGINS = "voice.commands"
"""Entry points of other packages' commands."""


COMMANDS: tuple[Command, ...] = (
    Command("demo", "services.cli.demo"),
    Command("up", "services.cli.up"),
    Command("transcribe", "services.cli.transcribe"),
    Command("say", "services.cli.say"),
    Command("voices", "services.cli.voices"),
    Command("models", "services.cli.models"),
    Command("keys", "services.cli.keys"),
    Command("doctor", "services.cli.doctor"),
    Command("nginx", "services.balancer.cli"),
    Command("bench", "services.bench.cli"),
)


class LazyGroup(TyperGroup):
    """Finds its subcommands in `COMMANDS`, in that order, and then among the plug-ins."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [command.name for command in (*COMMANDS, *plugged_in(PLUGINS))]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        for command in COMMANDS:
            if command.name == cmd_name:
                return load(command)
        for command in plugged_in(PLUGINS):
            if command.name == cmd_name:
                return load_plugin(command)
        return None


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
