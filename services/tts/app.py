"""The TTS service as an ASGI application."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from services.shared.models.store import ModelStore
from services.shared.runtime.edge import build_app
from services.shared.runtime.key_files import load_keys
from services.shared.runtime.lifecycle import Lifecycle, running
from services.shared.runtime.tracing import create_tracer
from services.tts.config import TtsConfig
from services.tts.http_api import speech_routes
from services.tts.lexicon_api import lexicon_routes
from services.tts.service import TtsService
from services.tts.voices_api import voice_routes
from services.tts.ws_api import stream_routes

_JSON_OVERHEAD = 1 << 12
_FORM_OVERHEAD = 1 << 18
_BYTES_PER_CHARACTER = 12
"""The longest JSON escape of one character: a pair of surrogates."""


def create_app(config: TtsConfig, store: ModelStore | None = None) -> FastAPI:
    """Build the application; models are located now and loaded when it starts.

    Raises:
        ConfigError, ModelError, EngineUnavailable: with a sentence that says how to mend it.
    """
    registry = CollectorRegistry()
    lifecycle = Lifecycle(config.limits, load_keys(config.server), registry)
    service = TtsService(config, store or ModelStore(), registry)
    lifecycle.owners = [speaker.scheduler for speaker in service.speakers]
    lifecycle.checks = [speaker.trouble for speaker in service.speakers]
    tracer = create_tracer(config.tracing, "tts")
    app = build_app(
        lifecycle,
        tracer=tracer,
        title="TTS",
        description="Streaming speech synthesis: speaks while the text still arrives.",
        larger_bodies={"/v1/voices": _upload_bytes(config)},
        max_body=config.text.max_request_characters * _BYTES_PER_CHARACTER + _JSON_OVERHEAD,
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
    app.include_router(stream_routes(service))
    app.include_router(speech_routes(service))
    app.include_router(voice_routes(service))
    app.include_router(lexicon_routes(service))
    return app


def _upload_bytes(config: TtsConfig) -> int:
    """Of a reference recording with its form; little where none is taken."""
    if config.voices.store is None:
        return _FORM_OVERHEAD
    return (config.voices.reference.max_file_mb << 20) + _FORM_OVERHEAD
