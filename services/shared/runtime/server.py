"""Runs a service under uvicorn: SIGTERM drains it, a failed start ends it with exit code 1."""

import argparse
import asyncio
import contextlib
import math
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TypeVar

import uvicorn
import uvloop
from fastapi import FastAPI
from prometheus_client import disable_created_metrics
from threadpoolctl import threadpool_limits

from services.shared.models.errors import ModelError
from services.shared.runtime.config import (
    ConfigError,
    LimitsConfig,
    ServerConfig,
    ServiceSettings,
)
from services.shared.runtime.lifecycle import lifecycle_of
from services.shared.runtime.logs import configure_logs
from services.shared.runtime.memory import bound_arenas, freeze_heap, give_back
from services.shared.runtime.protocols import Http, web_sockets
from services.shared.runtime.systemd import Supervisor, report
from services.shared.runtime.tls import Certificate

_GOODBYES_S = 45.0
"""What stopping may take beyond the drain: last finals, closing handshakes, models that stop."""


class DrainingServer(uvicorn.Server):
    """uvicorn closes sockets at once on a signal; this one lets live sessions finish first."""

    def __init__(
        self,
        config: uvicorn.Config,
        app: FastAPI,
        drain_s: float,
        certificate: Certificate | None = None,
    ) -> None:
        super().__init__(config)
        self._certificate = certificate
        self._lifecycle = lifecycle_of(app)
        self._drain_s = drain_s
        self._stop = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.listening = asyncio.Event()
        """Connections are accepted."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._stop.is_set() or self._loop is None:
            self.should_exit = True  # asked twice: now
            self.force_exit = sig == signal.SIGINT
            return
        self._loop.call_soon_threadsafe(self._stop.set)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self.listening.set()

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        watchers = [asyncio.create_task(self._watch())]
        if self._certificate is not None:
            watchers.append(asyncio.create_task(self._certificate.watch()))
        try:
            await super().serve(sockets)
        finally:
            for watcher in watchers:
                watcher.cancel()
            for watcher in watchers:
                with contextlib.suppress(asyncio.CancelledError):
                    await watcher

    async def _watch(self) -> None:
        """Wait for a signal or a failed start, drain, then let uvicorn shut down."""
        waits = [
            asyncio.create_task(self._stop.wait()),
            asyncio.create_task(self._lifecycle.failed.wait()),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if self._lifecycle.failure is None:
            await self._lifecycle.drain(self._drain_s)
        self.should_exit = True


def create_server(app: FastAPI, server: ServerConfig, limits: LimitsConfig) -> DrainingServer:
    """The configured uvicorn, not yet listening. Raises ConfigError: the certificate is no good."""
    certificate = Certificate.of(server)
    config = uvicorn.Config(
        app,
        host=server.host,
        port=server.port,
        log_config=None,
        access_log=False,
        loop="uvloop",
        http=Http,
        ws=web_sockets(limits.send_s),
        # The connection refuses what is over the limit, with a sentence; this bounds memory.
        ws_max_size=4 * limits.max_message_bytes,
        ws_per_message_deflate=False,  # audio does not compress; the CPU is for the models
        ws_ping_interval=limits.dead_s / 3,
        ws_ping_timeout=limits.dead_s * 2 / 3,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=math.ceil(limits.send_s) + 1,
        h11_max_incomplete_event_size=64 * 1024,
        ssl_context_factory=None if certificate is None else lambda *_: certificate.context,
    )
    return DrainingServer(config, app, server.drain_s, certificate)


async def serve(
    app: FastAPI,
    server: ServerConfig,
    limits: LimitsConfig,
    supervisor: Supervisor | None = None,
) -> int:
    """Serve until told to stop.

    Args:
        supervisor: who is told that the service is ready, alive and stopping.

    Returns:
        The process's exit code: 1 when the models could not be loaded, else 0.
    """
    lifecycle = lifecycle_of(app)
    serving = create_server(app, server, limits)
    stop_s = server.drain_s + _GOODBYES_S + limits.send_s
    told = report(lifecycle, serving.listening, supervisor or Supervisor(), stop_s)
    beside = [
        asyncio.create_task(freeze_heap(lifecycle.ready)),
        asyncio.create_task(give_back()),
        asyncio.create_task(told),
    ]
    try:
        await serving.serve()
    finally:
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
    return 1 if lifecycle.failure else 0


def _settle_process() -> None:
    """What the libraries' defaults cost a process with several models and threads.

    OpenBLAS's workers busy-wait after every product of NumPy: half of the CPU time of a decode,
    measured.
    """
    # Of no use to Prometheus, and a fifth of each scrape.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    threadpool_limits(limits=1, user_api="blas")
    bound_arenas()


C = TypeVar("C", bound=ServiceSettings)


def run_service(
    name: str, config_type: type[C], default: Path, create_app: Callable[[C], FastAPI]
) -> int:
    """The main function of a service's `__main__`: configuration, application, exit code."""
    parser = argparse.ArgumentParser(prog=f"python -m services.{name}")
    parser.add_argument("--config", type=Path, default=default, help="YAML file (%(default)s)")
    path = parser.parse_args().config
    try:
        config = config_type.load(path)
        configure_logs(config.log, name)
        _settle_process()
        app = create_app(config)
    except (ConfigError, ModelError) as error:
        sys.stderr.write(f"{name}: {error}\n")
        return 2
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        supervisor = Supervisor.of(os.environ)
        return runner.run(serve(app, config.server, config.limits, supervisor))
