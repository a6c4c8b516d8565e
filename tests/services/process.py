"""A service as a process of its own, with its signals and its exit code."""

import asyncio
import contextlib
import os
import socket
import sys
import tempfile
from asyncio.subprocess import STDOUT, Process
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx

START_S = 30.0
STOP_S = 20.0


@dataclass
class ServiceProcess:
    """`python -m services.NAME`; :func:`service_process` makes it."""

    process: Process
    address: str
    output: Path

    @property
    def http(self) -> str:
        return f"http://{self.address}"

    @property
    def ws(self) -> str:
        return f"ws://{self.address}"

    async def ready(self) -> None:
        """Wait until it answers that it is."""
        async with asyncio.timeout(START_S), httpx.AsyncClient(trust_env=False) as client:
            while True:
                assert self.process.returncode is None, self.said()
                with contextlib.suppress(httpx.HTTPError):
                    if (await client.get(f"{self.http}/health/ready")).status_code == 200:
                        return
                await asyncio.sleep(0.05)

    def terminate(self) -> None:
        self.process.terminate()

    async def ended(self) -> int:
        """Wait for its end; gives the exit code."""
        async with asyncio.timeout(STOP_S):
            return await self.process.wait()

    def said(self) -> str:
        """What it has written so far."""
        return self.output.read_text()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


@contextlib.asynccontextmanager
async def service_process(name: str, **environment: str) -> AsyncIterator[ServiceProcess]:
    """Start a service on a free port, configured by these variables; killed if it does not end."""
    port = free_port()
    prefix = name.upper()
    settings = {
        f"{prefix}__SERVER__PORT": str(port),
        f"{prefix}__LOG__FORMAT": "console",
        **environment,
    }
    with tempfile.NamedTemporaryFile(prefix=f"{name}-") as output:  # a pipe that nobody reads fills
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", f"services.{name}"),
            env={**os.environ, **settings},
            stdout=output,
            stderr=STDOUT,
        )
        try:
            yield ServiceProcess(process, f"127.0.0.1:{port}", Path(output.name))
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


FAKE_ASR = {"ASR__ENGINE__NAME": "fake", "ASR__VAD__NAME": "energy"}
"""Without models."""
