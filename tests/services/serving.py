"""A service as it runs in production, in a thread of its own, for tests with real clients.

The application runs under the configured uvicorn on an ephemeral port of the loopback address, and
blockbuster makes every blocking call of our code on an event loop an error meanwhile.
"""

import asyncio
import contextlib
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import structlog
import uvloop
from blockbuster import blockbuster_ctx
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families

from services.shared.runtime.config import LimitsConfig, ServerConfig
from services.shared.runtime.lifecycle import Lifecycle, Phase, lifecycle_of
from services.shared.runtime.server import create_server

START_S = 30.0
STOP_S = 20.0


class LiveService:
    """A running service; :func:`serving` makes it."""

    def __init__(self, app: FastAPI, server: ServerConfig, limits: LimitsConfig) -> None:
        self.lifecycle: Lifecycle = lifecycle_of(app)
        self.faults: list[str] = []
        """What nobody handled on the event loop."""
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self.http = f"http://{self.address}"
        self.ws = f"ws://{self.address}"
        self._server = create_server(app, server, limits)
        self._loop = uvloop.new_event_loop()
        self._loop.set_exception_handler(self._note_fault)
        self._thread = threading.Thread(target=self._run, name="service", daemon=True)

    def start(self, *, wait_ready: bool = True) -> None:
        self._thread.start()
        until(lambda: self._server.started, START_S)
        if wait_ready:
            until(lambda: self.lifecycle.phase is not Phase.STARTING, START_S)
        assert self.lifecycle.failure is None, self.lifecycle.failure

    def terminate(self) -> None:
        """What SIGTERM does."""
        self._server.handle_exit(signal.SIGTERM, None)

    def stop(self) -> None:
        """Terminate and wait for the end."""
        if self._thread.is_alive():
            self.terminate()
        self.join()

    def join(self) -> None:
        self._thread.join(STOP_S)
        assert not self._thread.is_alive(), "the service did not stop"

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def tasks(self) -> int:
        """How many tasks are on the service's event loop."""
        return len(asyncio.all_tasks(self._loop))

    @property
    def connections(self) -> int:
        """How many clients are connected, as the server sees it."""
        return len(self._server.server_state.connections)

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that carry `labels`, as `/metrics` tells it."""
        text = httpx.get(f"{self.http}/metrics", trust_env=False).text
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._server.serve([self._socket]))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
        finally:
            self._socket.close()
            self._loop.close()

    def _note_fault(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.faults.append(f"{context.get('message')}: {context.get('exception')!r}")


@contextlib.contextmanager
def serving(
    app: FastAPI,
    limits: LimitsConfig | None = None,
    server: ServerConfig | None = None,
    *,
    wait_ready: bool = True,
) -> Iterator[LiveService]:
    """Run `app` until the block ends; fails when something went wrong on its event loop."""
    server = server or ServerConfig(drain_s=0.5)
    # Its default draws tracebacks with all variables, which can take seconds.
    renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure([structlog.processors.add_log_level, renderer])
    live = LiveService(app, server, limits or LimitsConfig())
    with blockbuster_ctx(scanned_modules=["services"]) as buster:
        for function in buster.functions.values():  # tracebacks in logs show lines of source files
            function.can_block_in("structlog/dev.py", {"__call__"})
        live.start(wait_ready=wait_ready)
        try:
            yield live
        finally:
            live.stop()
    assert live.faults == []


def until(reached: Callable[[], bool], limit_s: float = 5.0) -> None:
    """Wait for something to become true. Blocks: for fixtures; tests use :func:`eventually`."""
    end = time.monotonic() + limit_s
    while not reached():
        assert time.monotonic() < end, f"not reached within {limit_s} s"
        time.sleep(0.01)


@dataclass
class Lag:
    """How late this machine is; :func:`loop_lag` and :func:`standstills` measure."""

    worst_s: float = 0.0
    total_s: float = 0.0
    """All together: by so much whatever was measured meanwhile may be longer."""

    def note(self, due: float) -> None:
        late_s = max(0.0, time.monotonic() - due)
        self.worst_s = max(self.worst_s, late_s)
        self.total_s += late_s


@contextlib.asynccontextmanager
async def loop_lag() -> AsyncIterator[Lag]:
    """The lag of the test's own event loop during the block, for what is judged by the clock."""
    lag, due = Lag(), time.monotonic() + 0.01

    async def watch() -> None:
        nonlocal due
        while True:
            due = time.monotonic() + 0.01
            await asyncio.sleep(0.01)
            lag.note(due)

    watching = asyncio.create_task(watch())
    try:
        yield lag
    finally:
        watching.cancel()
        lag.note(due)


@contextlib.contextmanager
def standstills() -> Iterator[Lag]:
    """The lag of a thread that wakes up every 10 ms, for tests without an event loop."""
    lag, over = Lag(), threading.Event()

    def watch() -> None:
        while not over.is_set():
            due = time.monotonic() + 0.01
            over.wait(0.01)
            lag.note(due)

    watching = threading.Thread(target=watch, name="standstills")
    watching.start()
    try:
        yield lag
    finally:
        over.set()
        watching.join()


async def eventually(reached: Callable[[], bool], limit_s: float = 5.0) -> None:
    """Wait for something to become true."""
    async with asyncio.timeout(limit_s):
        while not reached():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)
