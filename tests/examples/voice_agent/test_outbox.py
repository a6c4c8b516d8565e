"""Who sends too much waits, and nobody waits for ever."""

import asyncio

import pytest

from examples.voice_agent.outbox import Outbox
from examples.voice_agent.transport import TransportClosed


def outbox() -> Outbox:
    return Outbox(frame_bytes=10, silence=b"\0", limit_bytes=30)


async def blocked(box: Outbox, data: bytes) -> "asyncio.Task[None]":
    task = asyncio.create_task(box.send(data))
    await asyncio.sleep(0)
    assert not task.done()
    return task


async def test_sending_waits_for_room() -> None:
    box = outbox()
    await box.send(b"x" * 30)
    task = await blocked(box, b"y")
    assert box.take(pad=False) is not None
    async with asyncio.timeout(1):
        await task
    assert box.buffer.waiting_bytes == 21


async def test_what_waits_when_flushed_is_flushed() -> None:
    box = outbox()
    await box.send(b"x" * 30)
    task = await blocked(box, b"y")
    box.flush()
    async with asyncio.timeout(1):
        await task
    assert box.buffer.is_empty


async def test_closing_ends_all_waiting() -> None:
    box = outbox()
    await box.send(b"x" * 30)
    task = await blocked(box, b"y")
    box.close()
    with pytest.raises(TransportClosed):
        await task
    with pytest.raises(TransportClosed):
        box.mark("never")


async def test_news_come_or_the_time_is_up() -> None:
    box = outbox()
    await box.news(0.001)
    waiting = asyncio.create_task(box.news(None))
    await asyncio.sleep(0)
    await box.send(b"x")
    async with asyncio.timeout(1):
        await waiting
