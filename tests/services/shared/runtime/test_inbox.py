"""The inbox: nothing lost, nothing reordered, and full when it is full."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.shared.runtime.inbox import Inbox

LAST = -1


@given(
    st.lists(st.one_of(st.binary(max_size=40), st.integers(min_value=0)), max_size=30),
    st.integers(1, 50),
    st.integers(1, 200),
)
async def test_what_is_taken_is_what_was_put(
    items: list[bytes | int], share: int, limit: int
) -> None:
    inbox: Inbox[int] = Inbox(limit)
    taken: list[bytes | int] = []

    async def take_all() -> None:
        while (item := await inbox.take(share)) != LAST:
            if isinstance(item, list):
                assert sum(map(len, item)) <= share
                taken.append(b"".join(item))
            else:
                taken.append(item)

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(take_all())
        for item in [*items, LAST]:
            await inbox.put(item)
    assert joined(taken) == joined(items)


def joined(items: list[bytes | int]) -> list[bytes | int]:
    """Neighbouring audio as one; empty chunks are no audio."""
    result: list[bytes | int] = []
    for item in items:
        if isinstance(item, bytes) and result and isinstance(result[-1], bytes):
            result[-1] += item
        else:
            result.append(item)
    return [item for item in result if item != b""]


async def test_a_full_inbox_holds_the_sender_back() -> None:
    inbox: Inbox[str] = Inbox(10)
    await inbox.put(b"x" * 10)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await inbox.put(b"y")
    assert await inbox.take(100) == [b"x" * 10]
    async with asyncio.timeout(5):
        await inbox.put(b"y")


async def test_a_large_chunk_is_cut_and_its_rest_comes_next() -> None:
    inbox: Inbox[str] = Inbox(1000)
    await inbox.put(b"abcdef")
    await inbox.put("stop")
    assert await inbox.take(4) == [b"abcd"]
    assert await inbox.take(4) == [b"ef"]
    assert await inbox.take(4) == "stop"


async def test_the_taker_waits_for_something() -> None:
    inbox: Inbox[str] = Inbox(1000)
    waiting = asyncio.create_task(inbox.take(10))
    await asyncio.sleep(0)
    assert not waiting.done()
    await inbox.put("flush")
    async with asyncio.timeout(5):
        assert await waiting == "flush"


async def test_the_taker_may_wait_for_more_audio_but_not_past_a_message() -> None:
    inbox: Inbox[str] = Inbox(1000)
    waiting = asyncio.create_task(inbox.take(100, at_least=4))
    await inbox.put(b"abc")
    await asyncio.sleep(0.01)
    assert not waiting.done() and not inbox.ready
    await inbox.put(b"de")
    async with asyncio.timeout(5):
        assert await waiting == [b"abc", b"de"]
        waiting = asyncio.create_task(inbox.take(100, at_least=4))
        await inbox.put(b"f")
        await inbox.put("stop")
        assert await waiting == [b"f"]
        assert await inbox.take(100, at_least=4) == "stop"


async def test_waiting_for_more_than_fits_is_no_deadlock() -> None:
    inbox: Inbox[str] = Inbox(4)
    waiting = asyncio.create_task(inbox.take(100, at_least=50))
    await inbox.put(b"abcd")
    async with asyncio.timeout(5):
        assert await waiting == [b"abcd"]
