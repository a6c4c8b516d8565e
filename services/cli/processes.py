"""A service as a child process: started, awaited, listened to and stopped by one owner."""

import asyncio
import contextlib
import os
import socket
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import httpx

ServiceName = Literal["asr", "tts"]
READY_S = 120.0
STOP_S = 45.0
_POLL_S = 0.1
_LAST_LINES = 12


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
        self._on_line = on_line
        self._process: asyncio.subprocess.Process | None = None
        self._listening: asyncio.Task[None] | None = None
        self._last: deque[str] = deque(maxlen=_LAST_LINES)

    @property
    def http_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

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
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            f"services.{self.name}",
            *(["--config", str(self._config)] if self._config else []),
            env=os.environ
            | {f"{prefix}__SERVER__HOST": "127.0.0.1", f"{prefix}__SERVER__PORT": str(self.port)}
            | self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            # Ctrl-C in the terminal reaches only us; we tell it when to drain.
            start_new_session=True,
        )
        self._listening = asyncio.create_task(self._listen(self._process))
        await self._until_ready(self._process)
        self.startup_s = time.monotonic() - began

    async def ended(self) -> int:
        """Wait until it ends by itself; gives the exit code."""
        assert self._process is not None
        code = await self._process.wait()
        await self._heard_out()
        return code

    async def stop(self) -> None:
        """Let it drain; kill it when that takes too long."""
        process = self._process
        if process is None:
            return
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(STOP_S):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
        await self._heard_out()

    def failure(self) -> ServiceFailed:
        """What to say when it has ended."""
        code = self._process.returncode if self._process else None
        words = "\n".join(self._last) or "it said nothing"
        return ServiceFailed(f"{self.name} ended with exit code {code}:\n{words}")

    async def _until_ready(self, process: asyncio.subprocess.Process) -> None:
        deadline = time.monotonic() + READY_S
        async with httpx.AsyncClient(timeout=2.0, trust_env=False) as client:
            while time.monotonic() < deadline:
                if process.returncode is not None:
                    await self._heard_out()
                    raise self.failure()
                with contextlib.suppress(httpx.HTTPError):
                    if (await client.get(f"{self.http_url}/health/ready")).status_code == 200:
                        return
                await asyncio.sleep(_POLL_S)
        raise ServiceFailed(f"{self.name} was not ready within {READY_S:.0f} s")

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        async for raw in process.stderr:
            line = raw.decode(errors="replace").rstrip()
            self._last.append(line)
            if self._on_line is not None:
                self._on_line(line)

    async def _heard_out(self) -> None:
        """The last lines may arrive after the process has ended."""
        if self._listening is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._listening, 2.0)


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
