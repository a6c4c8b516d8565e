"""`voice up`: both services in the foreground, until Ctrl-C drains them."""

import asyncio
import signal
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from services.cli.failures import run
from services.cli.processes import ServiceName, ServiceProcess, running

app = typer.Typer(add_completion=False)

_STYLE: dict[ServiceName, str] = {"asr": "cyan", "tts": "magenta"}
_Config = Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="YAML file.")]


@app.command()
def up(
    asr_port: Annotated[int, typer.Option(min=1, max=65535)] = 8001,
    tts_port: Annotated[int, typer.Option(min=1, max=65535)] = 8002,
    asr_config: _Config = None,
    tts_config: _Config = None,
) -> None:
    """Run both services in the foreground; Ctrl-C lets live sessions finish, then ends."""
    console = Console(stderr=True, highlight=False)
    services = (
        ServiceProcess("asr", port=asr_port, config=asr_config, on_line=_printer(console, "asr")),
        ServiceProcess("tts", port=tts_port, config=tts_config, on_line=_printer(console, "tts")),
    )
    run(_serve(console, services))


def _printer(console: Console, name: ServiceName) -> partial[None]:
    return partial(_print_line, console, name)


def _print_line(console: Console, name: ServiceName, line: str) -> None:
    text = Text(f"{name} │ ", style=_STYLE[name])
    text.append_text(Text.from_ansi(line, style="default"))
    console.print(text, soft_wrap=True)


async def _serve(console: Console, services: tuple[ServiceProcess, ...]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with running(*services):
        for service in services:
            console.print(
                f"{service.name} is ready after {service.startup_s:.1f} s: "
                f"{service.http_url} (docs at /docs)"
            )
        ends = {asyncio.create_task(service.ended()): service for service in services}
        stopping = asyncio.create_task(stop.wait())
        done, pending = await asyncio.wait([*ends, stopping], return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        if stopping not in done:
            raise ends[next(iter(done))].failure()
        console.print("draining both services …")
