"""Exceptions that have been dealt with keep nothing alive."""

import asyncio
import contextlib
import gc
import weakref

import pytest
from starlette.types import Message
from starlette.websockets import WebSocket

from services.shared.runtime.auth import PUBLIC
from services.shared.runtime.config import LimitsConfig
from services.shared.runtime.connection import ClientGone, Connection
from services.shared.runtime.endings import forget_frames
from tests.services.uncollected import uncollected


class Held:
    """Something large."""


async def _fails_with(held: list[Held]) -> ExceptionGroup[Exception]:
    kept = held.pop()

    async def fail() -> None:
        try:
            raise KeyError(id(kept))
        except KeyError as error:
            raise ValueError("in a nested group") from error

    try:
        async with asyncio.TaskGroup() as outer:
            async with asyncio.TaskGroup() as inner:
                inner.create_task(fail())
            outer.create_task(fail())
    except ExceptionGroup as group:
        return group
    raise AssertionError


@pytest.mark.parametrize("forgets", [False, True])
async def test_frames_are_let_go_of_without_the_collector(*, forgets: bool) -> None:
    held = [Held()]
    there = weakref.ref(held[0])
    gc.collect()
    gc.disable()
    try:
        group = await _fails_with(held)
        if forgets:
            forget_frames(group)
        await asyncio.sleep(0)
        assert (there() is None) is forgets
        assert [str(error) for error in group.exceptions]
    finally:
        gc.enable()


async def test_a_write_that_fails_leaves_nothing() -> None:
    """In a resumable session the loss is not the end: nobody forgets the frames for it."""

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        if message["type"] == "websocket.send":
            raise OSError("the connection is lost")

    websocket = WebSocket({"type": "websocket"}, receive, send)
    await websocket.accept()
    connection = Connection(websocket, LimitsConfig(), PUBLIC)
    with uncollected() as left:
        connection.send_text("nobody hears it")
        with contextlib.suppress(ClientGone):
            await connection.write()
    assert not left


def test_an_exception_that_is_its_own_cause_is_no_endless_matter() -> None:
    error = ValueError("once")
    error.__cause__ = error
    forget_frames(error)
    assert error.__traceback__ is None
