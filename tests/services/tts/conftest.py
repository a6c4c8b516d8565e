"""The TTS service live, with tones for speech unless a test needs a real voice."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from services.shared.models.store import ModelStore
from services.shared.runtime.config import LimitsConfig, ServerConfig
from services.tts.app import create_app
from services.tts.config import EnginesConfig, FakeEngineConfig, PiperEngineConfig, TtsConfig
from tests.services.serving import LiveService, serving

Start = Callable[..., LiveService]


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
def start_service() -> Iterator[Start]:
    """Start a service of one's own: sections of the configuration by name, and `delay_ms`."""
    with ExitStack() as stack:

        def start(delay_ms: int = 0, *, wait_ready: bool = True, **sections: object) -> LiveService:
            config = TtsConfig(engines=tones(delay_ms), **sections)  # type: ignore[arg-type]
            server = config.server.model_copy(update={"drain_s": 0.5})
            if "server" in sections:
                server = config.server
            return stack.enter_context(
                serving(create_app(config), config.limits, server, wait_ready=wait_ready)
            )

        yield start


@pytest.fixture(scope="module")
def speaking(model_store: ModelStore) -> Iterator[LiveService]:
    """A service with the embedded voice. For tests marked `models`."""
    config = TtsConfig()
    app = create_app(config, model_store)
    with serving(app, LimitsConfig(), ServerConfig(drain_s=0.5)) as service:
        yield service
