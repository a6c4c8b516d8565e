"""`voice up`: both services in the foreground, one or several of each, until Ctrl-C drains them."""

import asyncio
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from services.balancer.plan import Plan
from services.balancer.process import Balancer, BalancerFailed, balancing, find_nginx
from services.cli.failures import run
from services.cli.processes import ServiceName, ServiceProcess, running

app = typer.Typer(add_completion=False)

_STYLE: dict[ServiceName, str] = {"asr": "cyan", "tts": "magenta"}
_STEP = 10
"""Between the ports of instances: 8001, 8011 … and 8002, 8012 …"""
_Config = Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="YAML file.")]
_PortOption = typer.Option(min=1, max=65535, help="Of the first instance.")


@app.command()
def up(
    asr_port: Annotated[int, _PortOption] = 8001,
    tts_port: Annotated[int, _PortOption] = 8002,
    asr_config: _Config = None,
    tts_config: _Config = None,
    instances: Annotated[
        int, typer.Option(min=1, max=8, help="Of each service; more than one go behind nginx.")
    ] = 1,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Of nginx.")] = 8080,
) -> None:
    """Run both services in the foreground; Ctrl-C lets live sessions finish, then ends."""
    console = Console(stderr=True, highlight=False)
    services = [
        *_instances(console, "asr", asr_port, asr_config, instances),
        *_instances(console, "tts", tts_port, tts_config, instances),
    ]
    run(_serve(console, services, port if instances > 1 else None))


def _instances(
    console: Console, name: ServiceName, port: int, config: Path | None, count: int
) -> list[ServiceProcess]:
    ports = range(port, port + _STEP * count, _STEP)
    return [
        ServiceProcess(
            name,
            port=each,
            config=config,
            on_line=_printer(console, name, each if count > 1 else None),
        )
        for each in ports
    ]


def _printer(console: Console, name: ServiceName, port: int | None) -> partial[None]:
    label = name if port is None else f"{name}:{port}"
    return partial(_print_line, console, label, _STYLE[name])


def _print_line(console: Console, label: str, style: str, line: str) -> None:
    text = Text(f"{label} │ ", style=style)
    text.append_text(Text.from_ansi(line, style="default"))
    console.print(text, soft_wrap=True)


async def _serve(console: Console, services: Sequence[ServiceProcess], port: int | None) -> None:
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
        async with _balanced(console, services, port) as balancer:
            await _until_told(services, balancer, stop)
        console.print("draining the services …")


async def _until_told(
    services: Sequence[ServiceProcess], balancer: Balancer | None, stop: asyncio.Event
) -> None:
    """Wait for a signal; raises the failure of whatever ends before."""
    ends: dict[asyncio.Task[int], Callable[[], Exception]] = {
        asyncio.create_task(service.ended()): service.failure for service in services
    }
    if balancer is not None:
        ends[asyncio.create_task(balancer.ended())] = balancer.failure
    stopping = asyncio.create_task(stop.wait())
    done, pending = await asyncio.wait([*ends, stopping], return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    if stopping not in done:
        raise ends[next(iter(done))]()


@asynccontextmanager
async def _balanced(
    console: Console, services: Sequence[ServiceProcess], port: int | None
) -> AsyncIterator[Balancer | None]:
    """nginx in front of them, or a loud word that there is none."""
    if port is None:
        yield None
        return
    try:
        await asyncio.to_thread(find_nginx)
    except BalancerFailed as missing:
        console.print(f"NO LOAD BALANCING: {missing}; each instance at its own port", style="red")
        yield None
        return
    plan = Plan(
        asr=tuple(_addresses(services, "asr")),
        tts={"default": tuple(_addresses(services, "tts"))},
        listen=f"127.0.0.1:{port}",
    )
    with tempfile.TemporaryDirectory(prefix="voice-nginx-") as folder:
        log = partial(_print_line, console, "nginx", "green")
        async with balancing(plan, Path(folder), on_line=log) as balancer:
            console.print(f"all of them behind nginx: http://127.0.0.1:{port}")
            yield balancer


def _addresses(services: Sequence[ServiceProcess], name: ServiceName) -> list[str]:
    return [f"127.0.0.1:{service.port}" for service in services if service.name == name]
