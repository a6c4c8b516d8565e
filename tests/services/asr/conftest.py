"""The ASR service live: with tones for words unless a test needs real models."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

import services.asr.service
from services.asr.app import create_app
from services.asr.config import AdmissionConfig, AsrConfig, EngineConfig, VadConfig
from services.asr.engines.base import AsrEngine
from services.shared.models.store import ModelStore
from services.shared.runtime.config import ServerConfig
from tests.services.serving import LiveService, serving

Start = Callable[..., LiveService]


def tones(delay_ms: int = 0, **sections: object) -> AsrConfig:
    """The fake engine and the model-free VAD. A busy machine gives nothing up unless asked to."""
    engine = EngineConfig(name="fake", delay_ms=delay_ms)
    sections.setdefault("admission", AdmissionConfig(enabled=False))
    return AsrConfig(engine=engine, vad=VadConfig(name="energy"), **sections)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def live() -> Iterator[LiveService]:
    """A service with the fake engine and default limits, shared by a module's tests."""
    config = tones()
    with serving(create_app(config), config.limits) as service:
        yield service


@pytest.fixture
def start_service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start a service of one's own: sections of the configuration by name, and `delay_ms`.

    `engine_is` is an engine to put in the fake one's place.
    """
    store = ModelStore()  # here, because it reads a file, which an event loop must not
    with ExitStack() as stack:

        def start(
            delay_ms: int = 0, *, engine_is: AsrEngine | None = None, **sections: object
        ) -> LiveService:
            config = tones(delay_ms, **sections)
            if engine_is is not None:
                monkeypatch.setattr(services.asr.service, "create_engine", lambda *_: engine_is)
            server = config.server
            if "server" not in sections:
                server = server.model_copy(update={"drain_s": 0.5})
            return stack.enter_context(serving(create_app(config, store), config.limits, server))

        yield start


@pytest.fixture(scope="module")
def hearing(model_store: ModelStore) -> Iterator[LiveService]:
    """A service with the embedded models. For tests marked `models`."""
    config = AsrConfig(admission=AdmissionConfig(enabled=False))
    app = create_app(config, model_store)
    with serving(app, config.limits, ServerConfig(drain_s=0.5)) as service:
        yield service
