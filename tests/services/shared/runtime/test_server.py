"""The end of a service: asked nicely, asked twice, and when it cannot start."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest
from prometheus_client import CollectorRegistry
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from services.shared.protocol.base import Error, ErrorCode
from services.shared.runtime.auth import KeyRing
from services.shared.runtime.config import LimitsConfig, ServerConfig
from services.shared.runtime.edge import build_app
from services.shared.runtime.lifecycle import Lifecycle, Phase, running
from services.shared.runtime.server import serve
from tests.services.serving import eventually
from tests.services.shared.runtime.conftest import Start

pytestmark = pytest.mark.timeout(30)


async def test_a_live_session_may_finish(start_tiny: Start) -> None:
    live = start_tiny(drain_s=10.0)
    async with connect(f"{live.ws}/talk", proxy=None) as client:
        await client.send("hello")
        await client.recv()
        live.terminate()
        await eventually(lambda: live.lifecycle.phase is Phase.DRAINING)
        await client.send("still here")
        assert await client.recv()
        assert live.running
        await client.send("end")
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert client.close_code == 1000
    await eventually(lambda: not live.running, 5)


async def test_who_stays_too_long_is_told(start_tiny: Start) -> None:
    live = start_tiny(drain_s=0.1)
    async with connect(f"{live.ws}/talk", proxy=None) as client:
        await client.send("hello")
        await client.recv()
        live.terminate()
        error = Error.model_validate_json(await asyncio.wait_for(client.recv(), 5))
        assert (error.code, error.retryable) == (ErrorCode.SHUTTING_DOWN, True)
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert client.close_code == 1012
    await eventually(lambda: not live.running, 5)


async def test_asked_twice_it_goes_at_once(start_tiny: Start) -> None:
    live = start_tiny(drain_s=60.0)
    async with connect(f"{live.ws}/talk", proxy=None) as client:
        await client.send("hello")
        await client.recv()
        began = time.monotonic()
        live.terminate()
        await eventually(lambda: live.lifecycle.phase is Phase.DRAINING)
        live.terminate()
        await eventually(lambda: not live.running, 10)
        assert time.monotonic() - began < 10


async def test_a_service_that_cannot_load_its_models_ends_with_1() -> None:
    lifecycle = Lifecycle(LimitsConfig(), KeyRing([]), CollectorRegistry())
    app = build_app(lifecycle, title="broken", description="", max_body=1000)

    async def load() -> None:
        raise FileNotFoundError("model.bin")

    async def unload() -> None:
        """Nothing was loaded."""

    @contextlib.asynccontextmanager
    async def lifespan(_app: object) -> AsyncIterator[None]:
        async with running(lifecycle, load, unload):
            yield

    app.router.lifespan_context = lifespan
    async with asyncio.timeout(10):
        assert await serve(app, ServerConfig(), LimitsConfig()) == 1
