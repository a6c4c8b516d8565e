"""The ASR service as an ASGI application."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from services.asr.config import AsrConfig
from services.asr.http_api import transcribe_routes
from services.asr.service import AsrService
from services.asr.ws_api import stream_routes
from services.shared.models.store import ModelStore
from services.shared.runtime.edge import build_app
from services.shared.runtime.key_files import load_keys
from services.shared.runtime.lifecycle import Lifecycle, running
from services.shared.runtime.tracing import create_tracer

_MULTIPART_OVERHEAD = 1 << 16
_JSON_BYTES = 1 << 14
"""Of other requests than files."""


def create_app(config: AsrConfig, store: ModelStore | None = None) -> FastAPI:
    """Build the application; models are located now and loaded when it starts.

    Raises:
        ConfigError, ModelError: with a sentence that says how to mend it.
    """
    registry = CollectorRegistry()
    lifecycle = Lifecycle(config.limits, load_keys(config.server), registry)
    service = AsrService(config, store or ModelStore(), registry)
    lifecycle.owners = list(service.schedulers)
    service.overload.census = lifecycle
    lifecycle.gates.append(service.overload.check)
    lifecycle.checks.append(service.overload.trouble)
    tracer = create_tracer(config.tracing, "asr")
    app = build_app(
        lifecycle,
        tracer=tracer,
        title="ASR",
        description="Streaming speech recognition with semantic turn detection.",
        larger_bodies={"/v1/transcribe": config.upload.max_bytes + _MULTIPART_OVERHEAD},
        max_body=_JSON_BYTES,
        server=config.server,
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            async with running(lifecycle, service.load, service.unload):
                yield
        finally:
            await asyncio.to_thread(tracer.close)

    app.router.lifespan_context = lifespan
    app.include_router(stream_routes(service, lifecycle))
    app.include_router(transcribe_routes(service))
    return app
