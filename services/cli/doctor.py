"""`voice doctor`: what is wrong with this machine, and how to mend it."""

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from services.cli.checkup import Finding, State, examine

app = typer.Typer(add_completion=False)

_STYLE = {State.OK: "green", State.WARN: "yellow", State.FAIL: "bold red"}


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Check Python, CPU, GPU, memory, disk, ports, models and packages; exit code 1 on a fault."""
    findings = examine()
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        Console().print(_table(findings))
    if any(finding.state is State.FAIL for finding in findings):
        raise typer.Exit(1)


def _table(findings: list[Finding]) -> Table:
    table = Table(box=box.SIMPLE, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        remedy = f"\n[italic]→ {finding.remedy}[/]" if finding.remedy else ""
        state = f"[{_STYLE[finding.state]}]{finding.state}[/]"
        table.add_row(state, finding.what, finding.found + remedy)
    return table
