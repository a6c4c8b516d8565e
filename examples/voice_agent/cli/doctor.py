"""`voice agent doctor`: what keeps calls from working, and how to mend it."""

import asyncio
import json
from dataclasses import asdict
from typing import Annotated

import typer

from examples.voice_agent.cli.running import Config
from examples.voice_agent.findings import Finding, State
from examples.voice_agent.store.errors import StoreError


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    call: Annotated[bool, typer.Option(help="Call each agent, too: some 10 s each.")] = True,
    config: Config = None,
) -> None:
    """Check configuration, database, services, models and transports, and call each agent.

    Exit code 1 on a fault.
    """
    from examples.voice_agent.cli.checkup import examine
    from examples.voice_agent.settings import load_settings

    try:
        findings = asyncio.run(examine(load_settings(config), call=call))
    except StoreError as error:
        remedy = "mend the file, or name another one with --config"
        findings = [Finding("configuration", State.FAIL, str(error), remedy)]
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        _show(findings)
    if any(finding.state is State.FAIL for finding in findings):
        raise typer.Exit(1)


def _show(findings: list[Finding]) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    styles = {State.OK: "green", State.WARN: "yellow", State.FAIL: "bold red"}
    table = Table(box=box.SIMPLE, show_header=False)
    for _ in range(2):
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for each in findings:
        remedy = f"\n[italic]→ {escape(each.remedy)}[/]" if each.remedy else ""
        state = f"[{styles[each.state]}]{each.state}[/]"
        table.add_row(state, escape(each.what), escape(each.found) + remedy)
    Console().print(table)
