"""The application; it runs beside the calls, on their event loop."""

from contextlib import AbstractAsyncContextManager

from fastapi import FastAPI
from prometheus_client import Gauge, ProcessCollector

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
from examples.voice_agent.http_server import listening
from examples.voice_agent.store.store import Store
from examples.voice_agent.vitals import Vitals


def create_app(
    store: Store, config: ApiConfig, *, vitals: Vitals | None = None, only_health: bool = False
) -> FastAPI:
    """The API of a store that is open. Reads the file of keys.

    Args:
        vitals: of the process; the store's metrics should be in their registry.
        only_health: only `/health` and `/metrics`.

    Raises:
        StoreError: the keys cannot be read.
    """
    app = FastAPI(title="Voice agent", summary="Agents, routes, conversations and live calls.")
    app.state.store = store
    app.state.config = config
    app.state.keys = KeyRing.load(config.keys_file)
    app.state.vitals = vitals = vitals or Vitals()
    calls = Gauge("voice_calls", "Calls that go on", registry=vitals.registry)
    calls.set_function(lambda: len(store.live.calls))
    ProcessCollector(registry=vitals.registry)
    install_error_handlers(app)
    app.include_router(health_api.router)
    for module in () if only_health else (agents_api, routes_api, conversations_api, live_api):
        app.include_router(module.router)
    document_errors(app)
    return app


def serving(app: FastAPI, config: ApiConfig) -> AbstractAsyncContextManager[str]:
    """Serve as long as the context lasts; gives the URL. Raises OSError: the port is taken."""
    return listening(app, config.host, config.port)
