"""What is measured of the bridge's own load."""

import asyncio
import time

import pytest

from examples.voice_agent.load import LoopLag


def test_the_worst_counts_and_fades() -> None:
    lag = LoopLag()
    lag.seen(0.5)
    lag.seen(0.01)
    assert lag.worst_s == pytest.approx(0.485)
    for _ in range(100):
        lag.seen(0.01)
    assert lag.worst_s < 0.03


async def test_a_loop_that_is_held_up_is_late() -> None:
    lag = LoopLag()
    measuring = asyncio.create_task(lag.run())
    await asyncio.sleep(0.05)
    time.sleep(0.4)  # noqa: ASYNC251 - what nobody should do
    await asyncio.sleep(0.01)
    assert lag.worst_s > 0.2
    measuring.cancel()
    await asyncio.wait([measuring])
