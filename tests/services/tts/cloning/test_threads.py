"""The threads that wait for the voice store."""

import asyncio
import threading

import pytest

from services.tts.cloning.threads import THREADS, Threads
from tests.services.serving import eventually


async def test_work_runs_in_few_threads_and_not_in_the_loop_s() -> None:
    threads = Threads()
    gate = threading.Event()

    def work(number: int) -> tuple[int, int]:
        assert gate.wait(5)
        return number, threading.get_ident()

    waiting = [asyncio.create_task(threads.run(work, number)) for number in range(3 * THREADS)]
    await asyncio.sleep(0.05)
    gate.set()
    done = await asyncio.gather(*waiting)
    threads.close()
    assert [number for number, _ in done] == list(range(3 * THREADS))
    assert len({thread for _, thread in done}) <= THREADS
    assert threading.get_ident() not in {thread for _, thread in done}


async def test_its_errors_are_the_caller_s() -> None:
    threads = Threads()
    with pytest.raises(ValueError, match="invalid literal"):
        await threads.run(int, "x")
    threads.close()


async def test_what_had_not_begun_is_given_up_at_the_end() -> None:
    threads = Threads()
    gate, begun = threading.Event(), list[int]()

    def hold(number: int) -> bool:
        begun.append(number)
        return gate.wait(10)

    holding = [asyncio.create_task(threads.run(hold, number)) for number in range(THREADS)]
    late = asyncio.create_task(threads.run(int, "1"))
    await eventually(lambda: len(begun) == THREADS)
    threads.close()
    with pytest.raises(asyncio.CancelledError):
        await late
    gate.set()
    assert await asyncio.gather(*holding) == [True] * THREADS
