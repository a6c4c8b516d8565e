"""A tiny service on the real runtime: what it is told to do, it does."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from typing import Literal

import pytest
from fastapi import Depends, FastAPI, Request, WebSocket
from prometheus_client import CollectorRegistry
from pydantic import BaseModel

from services.shared.protocol.base import Message
from services.shared.runtime.auth import KeyRing
from services.shared.runtime.config import LimitsConfig, ServerConfig
from services.shared.runtime.connection import Connection, SessionEnded, admitted, converse
from services.shared.runtime.edge import build_app
from services.shared.runtime.grants import requires
from services.shared.runtime.keys import Scope
from services.shared.runtime.lifecycle import Lifecycle, lifecycle_of, running
from tests.services.serving import LiveService, serving

MAX_BODY = 50_000


class Echo(Message):
    type: Literal["echo"] = "echo"
    size: int


class Order(BaseModel):
    text: str


async def obey(connection: Connection, busy: Callable[[], bool]) -> None:
    """Every message is a command or is answered with its size."""
    while True:
        message = await connection.receive(busy)
        match str(message).split() if isinstance(message, str) else []:
            case ["flood", count, size]:
                for number in range(int(count)):
                    await connection.send_audio(bytes([number]) * int(size))
            case ["chatter", count, size]:
                for number in range(int(count)):
                    connection.send(Order(text=f"{number:03}" + "x" * int(size)))
            case ["end"]:
                raise SessionEnded
            case ["fault"]:
                raise KeyError("a secret of ours")
            case _:
                connection.send(Echo(size=len(message)))


def tiny_app(lifecycle: Lifecycle, *, busy: bool) -> FastAPI:
    async def load() -> None:
        await asyncio.sleep(0)

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with running(lifecycle, load, load):
            yield

    app = build_app(lifecycle, title="tiny", description="", max_body=MAX_BODY)
    app.router.lifespan_context = lifespan

    @app.websocket("/talk")
    async def talk(websocket: WebSocket) -> None:
        async with admitted(websocket, lifecycle_of(websocket.app), Scope.ASR) as connection:
            if connection is not None:
                tasks = obey(connection, lambda: busy)
                await converse(connection, lifecycle, lambda group: void(group.create_task(tasks)))

    @app.post("/form", dependencies=[Depends(requires(Scope.ASR))])
    async def form(request: Request) -> list[str]:
        async with request.form() as fields:
            return sorted(fields)

    @app.post("/order")
    async def order(order: Order) -> int:
        return len(order.text)

    @app.get("/fault")
    async def fault() -> None:
        raise KeyError("a secret of ours")

    return app


def void(_task: object) -> None:
    """The group owns its tasks."""


Start = Callable[..., LiveService]


@pytest.fixture
def start_tiny() -> Iterator[Start]:
    """Start the tiny service with these limits: `start_tiny(keys=…, busy=…, drain_s=…, idle_s=…)`.

    At its end it must stop in time, with no session left and nothing unhandled on its loop.
    """
    with ExitStack() as stack:

        def start(
            *,
            keys: tuple[str, ...] = (),
            busy: bool = False,
            drain_s: float = 0.2,
            **limits: object,
        ) -> LiveService:
            bounds = LimitsConfig.model_validate({"send_s": 1.0, **limits})
            lifecycle = Lifecycle(bounds, KeyRing(keys), CollectorRegistry())
            app = tiny_app(lifecycle, busy=busy)
            return stack.enter_context(serving(app, bounds, ServerConfig(drain_s=drain_s)))

        yield start
