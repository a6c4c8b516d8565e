"""Work that is given up ends in order, however often its waiter is cancelled."""

import asyncio

import pytest

from examples.voice_agent.undisturbed import to_the_end, undisturbed


class Careful:
    """Takes a few rounds of the event loop to clean up; `clean` when it was left alone."""

    def __init__(self) -> None:
        self.clean = False

    async def work(self) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            for _ in range(5):
                await asyncio.sleep(0)
            self.clean = True


async def test_the_result_comes_through() -> None:
    assert await undisturbed(asyncio.sleep(0, "done")) == "done"


async def test_an_error_comes_through() -> None:
    async def fails() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await undisturbed(fails(), 1.0)


async def test_what_takes_too_long_is_given_up_and_over() -> None:
    careful = Careful()
    with pytest.raises(TimeoutError):
        await undisturbed(careful.work(), 0.01)
    assert careful.clean


@pytest.mark.parametrize("cancels", [1, 2, 4])
async def test_cancelled_again_and_again(cancels: int) -> None:
    careful = Careful()
    waiting = asyncio.create_task(undisturbed(careful.work()))
    await asyncio.sleep(0.01)
    for _ in range(cancels):
        waiting.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert careful.clean


async def test_closing_is_waited_for_to_its_end() -> None:
    closed = asyncio.Event()

    async def close() -> None:
        await asyncio.sleep(0.01)
        closed.set()

    waiting = asyncio.create_task(to_the_end(close()))
    for _ in range(3):
        await asyncio.sleep(0)
        waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert closed.is_set()
