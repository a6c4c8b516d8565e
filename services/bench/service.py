"""An ASR service in a process of its own, for the length of a benchmark."""

import asyncio
import contextlib
import os
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

_READY_S = 120.0
_STOP_S = 45.0


class ServiceFailed(Exception):
    """The service did not start; the sentence names its log."""


@dataclass(frozen=True, slots=True)
class Service:
    """Where a service answers; `pid` only when it is ours."""

    http_url: str
    pid: int | None = None
    startup_s: float | None = None

    @property
    def ws_url(self) -> str:
        return "ws" + self.http_url.removeprefix("http")


@asynccontextmanager
async def running_asr(config: Path | None, sessions: int, log: Path) -> AsyncIterator[Service]:
    """Start `services.asr` on a free port with room for so many sessions, stop it at the end.

    Raises:
        ServiceFailed: it ended, or was not ready in time.
    """
    url = f"http://127.0.0.1:{(port := _free_port())}"
    environment = os.environ | {
        "ASR__SERVER__HOST": "127.0.0.1",
        "ASR__SERVER__PORT": str(port),
        "ASR__LIMITS__MAX_SESSIONS": str(sessions),
    }
    arguments = ["--config", str(config)] if config else []
    began = time.monotonic()
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "services.asr",
            *arguments,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        try:
            await _ready(process, url, log)
            yield Service(url, process.pid, round(time.monotonic() - began, 2))
        finally:
            await _stop(process)


async def _ready(process: asyncio.subprocess.Process, url: str, log: Path) -> None:
    deadline = time.monotonic() + _READY_S
    async with httpx.AsyncClient(timeout=2.0, trust_env=False) as client:
        while time.monotonic() < deadline:
            if process.returncode is not None:
                raise ServiceFailed(
                    f"the service ended with exit code {process.returncode}; see {log}"
                )
            with contextlib.suppress(httpx.HTTPError):
                if (await client.get(f"{url}/health/ready")).status_code == 200:
                    return
            await asyncio.sleep(0.1)
    raise ServiceFailed(f"the service was not ready within {_READY_S:.0f} s; see {log}")


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), _STOP_S)
    except TimeoutError:
        process.kill()
        await process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
