"""The application, and how it runs beside the calls on one event loop."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI
from prometheus_client import CollectorRegistry, Gauge, ProcessCollector

from examples.voice_agent.api import (
    agents_api,
    conversations_api,
    health_api,
    live_api,
    routes_api,
)
from examples.voice_agent.api.config import ApiConfig
from examples.voice_agent.api.errors import install_error_handlers
from examples.voice_agent.api.keys import KeyRing
from examples.voice_agent.api.openapi import document_errors
from examples.voice_agent.store.store import Store

_START_S = 10.0
_STOP_S = 5


def create_app(
    store: Store, config: ApiConfig, *, registry: CollectorRegistry | None = None
) -> FastAPI:
    """The API of a store that is open. Reads the file of keys.

    Args:
        registry: what `/metrics` tells; the store's own should be in it.

    Raises:
        StoreError: the keys cannot be read.
    """
    app = FastAPI(title="Voice agent", summary="Agents, routes, conversations and live calls.")
    app.state.store = store
    app.state.config = config
    app.state.keys = KeyRing.load(config.keys_file)
    app.state.registry = registry = registry or CollectorRegistry()
    calls = Gauge("voice_calls", "Calls that go on", registry=registry)
    calls.set_function(lambda: len(store.live.calls))
    ProcessCollector(registry=registry)
    install_error_handlers(app)
    for module in (agents_api, routes_api, conversations_api, live_api, health_api):
        app.include_router(module.router)
    document_errors(app)
    return app


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to the program, not to one of its parts."""
        yield


@asynccontextmanager
async def serving(app: FastAPI, config: ApiConfig) -> AsyncIterator[str]:
    """Serve as long as the context lasts; gives the URL.

    Raises:
        OSError: the port is taken.
    """
    # uvicorn would end the whole program when the port is taken.
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    listener = socket.create_server((config.host, config.port), family=family, backlog=256)
    settings = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        ws="websockets-sansio",
        ws_per_message_deflate=False,  # the CPU is for the calls
        ws_ping_interval=10,
        ws_ping_timeout=10,
        lifespan="off",
        timeout_graceful_shutdown=_STOP_S,
    )
    server = _Server(settings)
    running = asyncio.create_task(server.serve([listener]), name="api")
    try:
        await _started(server, running)
        host = f"[{config.host}]" if ":" in config.host else config.host
        yield f"http://{host}:{listener.getsockname()[1]}"
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
