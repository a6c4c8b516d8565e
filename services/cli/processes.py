"""A service as a child process: started, awaited, listened to and stopped by one owner."""

import asyncio
import contextlib
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import httpx

from services.shared.runtime.child import Child

ServiceName = Literal["asr", "tts"]
READY_S = 120.0
STOP_S = 45.0
_POLL_S = 0.1


class ServiceFailed(Exception):
    """A service did not start or ended by itself; the sentence has its last words."""


class ServiceProcess:
    """`python -m services.NAME` on a port of the loopback address.

    Args:
        port: None lets the system choose a free one.
        config: YAML file; None: the service's own.
        environment: overrides, e.g. `{"ASR__ENGINE__NAME": "fake"}`.
        on_line: told every line that the service logs.
    """

    def __init__(
        self,
        name: ServiceName,
        *,
        port: int | None = None,
        config: Path | None = None,
        environment: dict[str, str] | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> None:
        self.name = name
        self.port = free_port() if port is None else port
        self.startup_s: float | None = None
        self._config = config
        self._environment = environment or {}
        self._child = Child(name, stop_s=STOP_S, on_line=on_line)

    @property
    def http_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        return self._child.pid

    async def start(self) -> None:
        """Start it and wait until its models are warm.

        Raises:
            ServiceFailed: the port is taken, it ended, or it was not ready in time.
        """
        if not port_is_free(self.port):
            raise ServiceFailed(
                f"port {self.port} is taken; stop what listens there, or choose another port"
            )
        began = time.monotonic()
        prefix = self.name.upper()
        await self._child.start(
            sys.executable,
            "-m",
            f"services.{self.name}",
            *(["--config", str(self._config)] if self._config else []),
            environment=os.environ
            | {f"{prefix}__SERVER__HOST": "127.0.0.1", f"{prefix}__SERVER__PORT": str(self.port)}
            | self._environment,
        )
        await self._until_ready()
        self.startup_s = time.monotonic() - began

    async def ended(self) -> int:
        """Wait until it ends by itself; gives the exit code."""
        return await self._child.ended()

    async def stop(self) -> None:
        """Let it drain; kill it when that takes too long."""
        await self._child.stop()

    def failure(self) -> ServiceFailed:
        """What to say when it has ended."""
        return ServiceFailed(self._child.last_words())

    async def _until_ready(self) -> None:
        deadline = time.monotonic() + READY_S
        async with httpx.AsyncClient(timeout=2.0, trust_env=False) as client:
            while time.monotonic() < deadline:
                if self._child.returncode is not None:
                    await self._child.heard_out()
                    raise self.failure()
                with contextlib.suppress(httpx.HTTPError):
                    if (await client.get(f"{self.http_url}/health/ready")).status_code == 200:
                        return
                await asyncio.sleep(_POLL_S)
        raise ServiceFailed(f"{self.name} was not ready within {READY_S:.0f} s")


@asynccontextmanager
async def running(*services: ServiceProcess) -> AsyncIterator[None]:
    """Start services side by side, stop them at the end whatever happens.

    Raises:
        ServiceFailed
    """
    try:
        results = await asyncio.gather(
            *(service.start() for service in services), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result
        yield
    finally:
        await asyncio.gather(*(service.stop() for service in services))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
