"""How commands end: one sentence on stderr and an exit code, never a traceback."""

import asyncio
import signal
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import typer
from rich.console import Console

from services.balancer.process import BalancerFailed
from services.cli.models import tell_error
from services.cli.processes import ServiceFailed
from services.client.connection import ServiceError
from services.shared.models.errors import ModelError
from services.shared.protocol.base import ProtocolError
from services.shared.runtime.config import ConfigError

T = TypeVar("T")


class CommandFailed(Exception):
    """A command cannot go on; the sentence says why."""


@contextmanager
def told() -> Iterator[None]:
    """Turn the failures that users can do something about into one sentence and exit code 1."""
    known = (
        CommandFailed, ServiceFailed, BalancerFailed, ServiceError, ModelError, ConfigError,
        ProtocolError, OSError,
    )  # fmt: skip
    try:
        yield
    except known as error:
        tell_error(Console(stderr=True), error)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(128 + signal.SIGINT) from None
    except asyncio.CancelledError:
        raise typer.Exit(128 + signal.SIGTERM) from None


async def until_terminated(work: Coroutine[Any, Any, T]) -> T:
    """Await a command's work; SIGTERM cancels it, so that the processes it has started end, too."""
    if threading.current_thread() is not threading.main_thread():
        return await work  # signals are not ours
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        return await work
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run an asynchronous command under :func:`told`."""
    with told():
        asyncio.run(until_terminated(work))
