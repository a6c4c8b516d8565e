"""What the commands of `voice bench` have in common."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

import typer
from rich.console import Console


class _Level(Protocol):
    @property
    def losses(self) -> list[str]: ...


class Result(Protocol):
    """What a benchmark found."""

    @property
    def levels(self) -> Sequence[_Level]: ...

    def model_dump_json(self, *, indent: int) -> str: ...


R = TypeVar("R", bound=Result)
Say = Callable[[str], None]
"""Tells the user how far it is."""


def measure(
    name: str,
    out: Path,
    run: Callable[[Path, Say], Coroutine[Any, Any, R]],
    draw: Callable[[R, Path], object],
    show: Callable[[R, Console], object],
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> None:
    """Run, write the results into `out`, and end with 1 when something was lost.

    Args:
        name: what the files' names begin with.
        run: is given the path of the service's log.
        draw: writes a PNG.
        show: prints for people.
        loop_factory: of the event loop that callers run on; None: Python's own.
    """
    from services.cli.failures import until_terminated

    console = Console()
    out.mkdir(parents=True, exist_ok=True)
    stem = out / f"{name}-{datetime.now():%Y%m%d-%H%M%S}"

    def say(sentence: str) -> None:
        console.print(sentence, style="dim", highlight=False)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        result = runner.run(until_terminated(run(stem.with_suffix(".log"), say)))
    stem.with_suffix(".json").write_text(result.model_dump_json(indent=1) + "\n", encoding="utf-8")
    draw(result, stem.with_suffix(".png"))
    show(result, console)
    console.print(f"{stem}.json, {stem}.png", highlight=False, soft_wrap=True)
    if any(level.losses for level in result.levels):
        raise typer.Exit(1)


def levels_of(text: str) -> tuple[int, ...]:
    """ "1,4,8" → (1, 4, 8). Raises typer.BadParameter."""
    try:
        levels = tuple(int(part) for part in text.split(","))
    except ValueError:
        levels = ()
    if not levels or min(levels) < 1:
        raise typer.BadParameter(f'--concurrency "{text}": expected numbers such as 1,4,8')
    return levels
