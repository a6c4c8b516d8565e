"""Work that can be given up, but not disturbed while it is giving up.

A task that is cancelled a second time while it still cleans up after the first leaves things
behind: httpx then neither closes its connection nor gives it back to the pool. Calls end in ways in
which that happens, so such work has a task of its own, which is cancelled once at most.
"""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def undisturbed(work: Awaitable[T], timeout: float | None = None) -> T:
    """Wait for `work`; when we are cancelled, or it takes too long, cancel it and see it end.

    Raises:
        TimeoutError: it took longer than `timeout` seconds.
        asyncio.CancelledError: we were cancelled; `work` is over by then.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=timeout)
        if not task.done():
            raise TimeoutError
    finally:
        if not task.done():
            task.cancel()
            await _ended(task)
    return task.result()


async def _ended(task: "asyncio.Future[T]") -> None:
    """However often we are cancelled meanwhile."""
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            cancelled = True
    if not task.cancelled():
        task.exception()  # nobody else will ask for it
    if cancelled:
        raise asyncio.CancelledError


async def to_the_end(work: Awaitable[T]) -> None:
    """Wait for `work` (closing something, say) however often we are cancelled meanwhile.

    Raises:
        asyncio.CancelledError: afterwards, if we were.
    """
    await _ended(asyncio.ensure_future(work))
