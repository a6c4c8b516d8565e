"""An HTTP server beside the calls, on their event loop."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.applications import Starlette

_START_S = 10.0
_STOP_S = 5
_LARGEST = 16 << 20


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to the program, not to one of its parts."""
        yield


@asynccontextmanager
async def listening(
    app: Starlette, host: str, port: int, *, ws_max_size: int = _LARGEST
) -> AsyncIterator[str]:
    """Serve as long as the context lasts; gives the URL.

    Args:
        port: 0: any free one.
        ws_max_size: bytes of the largest WebSocket message.

    Raises:
        OSError: the port is taken.
    """
    # uvicorn would end the whole program when the port is taken.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=256)
    settings = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        ws="websockets-sansio",
        ws_per_message_deflate=False,  # the CPU is for the calls
        ws_max_size=ws_max_size,
        ws_ping_interval=10,
        ws_ping_timeout=10,
        lifespan="off",
        timeout_graceful_shutdown=_STOP_S,
    )
    server = _Server(settings)
    running = asyncio.create_task(server.serve([listener]), name="http")
    try:
        await _started(server, running)
        name = f"[{host}]" if ":" in host else host
        yield f"http://{name}:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await asyncio.wait([running], timeout=_STOP_S + 2)
        if not running.done():
            running.cancel()
        listener.close()


async def _started(server: _Server, running: "asyncio.Task[None]") -> None:
    """uvicorn has no event for it."""
    async with asyncio.timeout(_START_S):
        while not server.started and not running.done():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    if running.done():
        running.result()
