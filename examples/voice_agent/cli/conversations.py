"""`voice agent conversations`: what was said."""

from typing import TYPE_CHECKING, Annotated

import typer

from examples.voice_agent.cli.running import Config, with_database

if TYPE_CHECKING:
    from examples.voice_agent.store.database import Database


app = typer.Typer(no_args_is_help=True, help="What was said.")


@app.command("list")
def list_conversations(
    agent: Annotated[str | None, typer.Option(help="Only this agent's.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 20,
    config: Config = None,
) -> None:
    """The newest first."""
    from rich.console import Console
    from rich.table import Table

    from examples.voice_agent.store.conversations import ConversationFilter, Conversations

    async def work(database: "Database") -> None:
        page = await Conversations(database).page(ConversationFilter(agent=agent), limit=limit)
        table = Table("id", "began (UTC)", "s", "caller", "called", "agent", "outcome", "cost")
        for each in page.conversations:
            row = each.row
            lasted = "" if row.ended_at is None else f"{(row.ended_at - row.started_at).seconds}"
            who = (row.caller, row.called, f"{row.agent} v{each.agent_version or '?'}")
            end = (row.outcome or "goes on", f"{each.cost.normalize():f} {row.currency or ''}")
            table.add_row(row.id, f"{row.started_at:%Y-%m-%d %H:%M:%S}", lasted, *who, *end)
        Console().print(table)

    with_database(config, work)


@app.command()
def show(conversation: str, config: Config = None) -> None:
    """A transcript, with what the caller waited for each answer."""
    from examples.voice_agent.store.conversations import Conversations

    async def work(database: "Database") -> None:
        found = await Conversations(database).transcript(conversation)
        for turn in found.turns:
            waited = ""
            if turn.speech_end_ms is not None and turn.wire_first_ms is not None:
                waited = f"  [{turn.wire_first_ms - turn.speech_end_ms} ms, {turn.speculation}]"
            at = f"{turn.at_ms // 60_000:02}:{turn.at_ms // 1000 % 60:02}"
            typer.echo(f"{at} {turn.role:>6}: {turn.text_spoken}{waited}")
            if turn.text_generated != turn.text_spoken:
                typer.echo(
                    f"{'':>12}  (not heard: {_unheard(turn.text_generated, turn.text_spoken)})"
                )
        for tool in found.tool_calls:
            state = "ok" if tool.ok else "failed"
            typer.echo(f"tool in turn {tool.turn}: {tool.name} {state}, {tool.duration_ms} ms")
        row = found.conversation.row
        typer.echo(f"outcome: {row.outcome or 'goes on'} ({row.cause or '-'})")

    with_database(config, work)


def _unheard(generated: str, spoken: str) -> str:
    return generated.removeprefix(spoken).strip()
