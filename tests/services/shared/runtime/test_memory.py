"""What is free goes back to the system, also between what is not."""

import asyncio
import contextlib
from multiprocessing import get_context
from multiprocessing.connection import Connection

import numpy as np
import psutil
import pytest

from services.shared.runtime.memory import bound_arenas, give_back, trimmer

HELD, BETWEEN = 20_000, 100_000
"""Bytes; neither has a mapping of its own."""
COUNT = 400


def _hole_mb() -> float:
    """Allocate, keep every second array, and wait for the task: how much less is resident then."""
    arrays = [np.ones(HELD if index % 2 else BETWEEN, np.uint8) for index in range(2 * COUNT)]
    kept = arrays[1::2]
    arrays.clear()
    full = psutil.Process().memory_info().rss

    async def wait() -> None:
        task = asyncio.create_task(give_back(every_s=0.05))
        await asyncio.sleep(0.5)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(wait())
    assert len(kept) == COUNT
    return (full - psutil.Process().memory_info().rss) / 1e6


def _in_a_process(answer: Connection) -> None:
    bound_arenas()
    answer.send(_hole_mb())


@pytest.mark.skipif(trimmer() is None, reason="this C library cannot give back")
def test_holes_between_living_objects_are_given_back() -> None:
    receiving, sending = get_context("spawn").Pipe(duplex=False)
    process = get_context("spawn").Process(target=_in_a_process, args=(sending,))
    process.start()
    assert receiving.poll(30)
    given_back_mb = receiving.recv()
    process.join(10)
    assert given_back_mb > 0.7 * COUNT * BETWEEN / 1e6
