"""How tasks and sessions end without keeping what they held.

A frame whose variables name the exception that has passed through it is a cycle with that
exception's traceback. A whole session hangs on such a frame, and would stay until the garbage
collector comes to its oldest generation.
"""

import asyncio
from typing import Any


def this_task() -> asyncio.Task[Any]:
    """The running task, for those that would not name it: a task keeps what has cancelled it."""
    task = asyncio.current_task()
    assert task is not None
    return task


def forget_frames(error: BaseException) -> None:
    """Let go of the frames that this exception, and what led to it, came through.

    For exceptions that have been dealt with. `asyncio.TaskGroup` of Python 3.11 and 3.12 names what
    it raises.
    """
    waiting, seen = [error], set[int]()
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        each.__traceback__ = None
        waiting += [led for led in (each.__cause__, each.__context__) if led is not None]
        if isinstance(each, BaseExceptionGroup):
            waiting += each.exceptions
