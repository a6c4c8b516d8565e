"""Programs that the bench starts, each with an owner, a log and a moment from which it is ready."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from services.cli.processes import ServiceFailed

_READY_S = 60.0
_STOP_S = 15.0
_POLL_S = 0.1
_LAST_WORDS = 1500

IsReady = Callable[[], Awaitable[bool]]


@asynccontextmanager
async def program(
    name: str,
    command: Sequence[str | Path],
    log: Path,
    is_ready: IsReady,
    environment: dict[str, str] | None = None,
) -> AsyncIterator[int]:
    """Run it; gives its process id. It is told to end, and killed when it takes too long.

    Raises:
        ServiceFailed: it ended, or was not ready in time; with its last words.
    """
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + _READY_S
        while not await is_ready():
            if process.returncode is not None or time.monotonic() > deadline:
                words = (await asyncio.to_thread(log.read_text, errors="replace"))[-_LAST_WORDS:]
                raise ServiceFailed(f"{name} does not start:\n{words}")
            await asyncio.sleep(_POLL_S)
        yield process.pid
    finally:
        await _stop(process)


async def _stop(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(_STOP_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def answers(url: str, auth: tuple[str, str] | None = None) -> IsReady:
    """Whether a GET succeeds."""

    async def ask() -> bool:
        async with httpx.AsyncClient(timeout=2.0, trust_env=False) as http:
            try:
                return (await http.get(url, auth=auth)).status_code == 200
            except httpx.HTTPError:
                return False

    return ask
