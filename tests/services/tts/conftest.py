"""The TTS service live, with tones for speech unless a test needs a real voice."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from services.shared.models.store import ModelStore
from services.shared.runtime.config import LimitsConfig, ServerConfig
from services.tts.app import create_app
from services.tts.config import EnginesConfig, FakeEngineConfig, PiperEngineConfig, TtsConfig
from tests.services.serving import LiveService, serving

StartService = Callable[..., Awaitable[LiveService]]


def tones(delay_ms: int = 0) -> EnginesConfig:
    """Only the fake engine."""
    return EnginesConfig(
        piper=PiperEngineConfig(enabled=False),
        fake=FakeEngineConfig(enabled=True, delay_ms=delay_ms),
    )


@pytest.fixture(scope="module")
def live() -> Iterator[LiveService]:
    """A service with the fake engine and default limits, shared by a module's tests."""
    config = TtsConfig(engines=tones())
    with serving(create_app(config), config.limits) as service:
        yield service


@pytest.fixture
def start_service() -> Iterator[StartService]:
    """Start a service of one's own: sections of the configuration by name, and `delay_ms`."""
    with ExitStack() as stack:

        def start(delay_ms: int, wait_ready: bool, sections: dict[str, Any]) -> LiveService:
            sections.setdefault("server", ServerConfig(drain_s=0.5))
            sections.setdefault("engines", tones(delay_ms))
            config = TtsConfig(**sections)
            app = create_app(config)
            return stack.enter_context(
                serving(app, config.limits, config.server, wait_ready=wait_ready)
            )

        async def start_in_thread(
            delay_ms: int = 0, *, wait_ready: bool = True, **sections: Any
        ) -> LiveService:
            return await asyncio.to_thread(start, delay_ms, wait_ready, sections)

        yield start_in_thread


@pytest.fixture(scope="module")
def speaking(model_store: ModelStore) -> Iterator[LiveService]:
    """A service with the embedded voice. For tests marked `models`."""
    config = TtsConfig()
    app = create_app(config, model_store)
    with serving(app, LimitsConfig(), ServerConfig(drain_s=0.5)) as service:
        yield service
