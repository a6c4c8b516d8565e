"""The process's memory: what the collector does not look at, and what goes back to the system."""

import asyncio
import ctypes
import gc
import platform
from collections.abc import Callable

_M_ARENA_MAX = -8
"""Of mallopt(3), in malloc.h."""
_ARENAS = 2
_GC_THRESHOLD = (5_000, 20, 50)
"""New objects a young collection, young ones a middle one, middle ones a full one (Python's own
are 700, 10, 10)."""
_TRIM_EVERY_S = 30.0


def bound_arenas() -> None:
    """Let threads share their heaps.

    glibc gives each thread an arena of its own, and none gives back what its model's largest batch
    needed: 160 MB more with two lanes of whisper-tiny.en, measured.
    """
    if _glibc():
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)


async def freeze_heap(ready: asyncio.Event) -> None:
    """Take what the libraries and models made out of the garbage collector's sight.

    A full collection walked over all of it while every caller waited: 66 to 215 ms, measured with
    200 callers. What sessions make is still collected, in fewer rounds: nearly all of it is freed
    by counting references, without the collector.
    """
    await ready.wait()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLD)


async def give_back(every_s: float = _TRIM_EVERY_S) -> None:
    """Give the free pages of the heaps back to the system, again and again; run as a task.

    Arrays of all sizes come and go between what lives for a whole call, and glibc gives back by
    itself only what is free at a heap's end. So over an hour of calls the process grew by 3 %,
    measured with 40 callers and the fake engine, while what it used stayed the same.
    """
    trim = trimmer()
    while trim is not None:
        await asyncio.sleep(every_s)
        await asyncio.to_thread(trim)


def trimmer() -> Callable[[], None] | None:
    """malloc_trim(3); None where the C library has none."""
    if not _glibc():
        return None
    library = ctypes.CDLL(None)

    def trim() -> None:
        library.malloc_trim(0)

    return trim


def _glibc() -> bool:
    return platform.libc_ver()[0] == "glibc"
