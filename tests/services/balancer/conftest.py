"""nginx as it is installed here, in front of live services or of sockets that only listen."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from services.asr.app import create_app as asr_app
from services.asr.config import AsrConfig, EngineConfig, VadConfig
from services.balancer.plan import ClientLimits, Plan
from services.balancer.process import Balancer, BalancerFailed, balancing, find_nginx
from services.cli.processes import free_port
from services.shared.models.store import ModelStore
from services.shared.runtime.config import LimitsConfig, ServerConfig
from services.tts.app import create_app as tts_app
from services.tts.config import EnginesConfig, FakeEngineConfig, PiperEngineConfig, TtsConfig
from tests.services.serving import LiveService, serving, until

UNLIMITED = ClientLimits(address_connections=0, key_connections=0, address_rate=0, key_rate=0)
NOBODY = "127.0.0.1:1"
"""Nothing listens there."""


@pytest.fixture(scope="session", autouse=True)
def nginx() -> str:
    try:
        return find_nginx()
    except BalancerFailed as error:
        pytest.skip(str(error))


class Front(NamedTuple):
    """A balancer as its clients see it."""

    address: str
    balancer: Balancer
    plan: Plan

    @property
    def http(self) -> str:
        return f"http://{self.address}"

    @property
    def ws(self) -> str:
        return f"ws://{self.address}"


StartFront = Callable[..., AbstractAsyncContextManager[Front]]


@pytest.fixture
def front(tmp_path: Path) -> StartFront:
    """Start nginx in front of addresses; other fields are those of :class:`Plan`."""

    @asynccontextmanager
    async def start(**fields: Any) -> AsyncIterator[Front]:
        fields.setdefault("asr", (NOBODY,))
        fields.setdefault("tts", {"default": ("127.0.0.1:2",)})
        fields.setdefault("limits", UNLIMITED)
        address = f"127.0.0.1:{free_port()}"
        plan = Plan(**{"listen": address, **fields})
        async with balancing(plan, tmp_path) as balancer:
            yield Front(address, balancer, plan)

    return start


class Pair(NamedTuple):
    one: LiveService
    other: LiveService

    @property
    def addresses(self) -> tuple[str, str]:
        return self.one.address, self.other.address

    @property
    def sessions(self) -> tuple[int, int]:
        return self.one.lifecycle.sessions, self.other.lifecycle.sessions


@pytest.fixture
def asr_pair(asr_services: Pair) -> Pair:
    """Two ASR services that hear tones, with room for eight sessions each, and nobody there."""
    until(lambda: asr_services.sessions == (0, 0))
    return asr_services


@pytest.fixture(scope="module")
def asr_services() -> Iterator[Pair]:
    config = AsrConfig(
        engine=EngineConfig(name="fake"),
        vad=VadConfig(name="energy"),
        limits=LimitsConfig(max_sessions=8),
    )
    yield from _pair(lambda: asr_app(config, ModelStore()), config.limits)


@pytest.fixture(scope="module")
def tts_pair() -> Iterator[Pair]:
    """Two TTS services that speak tones, a piece every 40 ms."""
    engines = EnginesConfig(
        piper=PiperEngineConfig(enabled=False), fake=FakeEngineConfig(enabled=True, delay_ms=40)
    )
    config = TtsConfig(engines=engines)
    yield from _pair(lambda: tts_app(config), config.limits)


def _pair(create: Callable[[], Any], limits: LimitsConfig) -> Iterator[Pair]:
    with ExitStack() as stack:
        one, other = (
            stack.enter_context(serving(create(), limits, ServerConfig(drain_s=0.5)))
            for _ in range(2)
        )
        yield Pair(one, other)


class Listening:
    """A bare socket in an instance's place: keeps what nginx sends, and answers as it is told."""

    def __init__(self, answer: bytes | None, hangs_s: float = 0.0) -> None:
        self.requests: list[tuple[str, dict[str, str]]] = []
        """Request line and headers."""
        self.address = ""
        self._answer = answer
        self._hangs_s = hangs_s

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        await reader.readexactly(int(headers.get("content-length", 0)))
        self.requests.append((head[0], headers))
        await asyncio.sleep(self._hangs_s)
        if self._answer is None:
            writer.transport.abort()
            return
        writer.write(self._answer)
        await writer.drain()
        writer.close()


@asynccontextmanager
async def listening(
    answer: bytes | None = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
    hangs_s: float = 0.0,
) -> AsyncIterator[Listening]:
    """None as answer: it breaks off, as a process does that is killed."""
    socket = Listening(answer, hangs_s)
    server = await asyncio.start_server(socket.serve, "127.0.0.1", 0)
    socket.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield socket
    finally:
        server.close()
        await server.wait_closed()
