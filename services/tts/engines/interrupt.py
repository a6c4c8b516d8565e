"""Ends a computation that runs in an engine's thread, from another one.

A cancelled caller should not pay for, nor make others wait for, a model run that has begun. Like a
cancel scope it is ambient: whoever advances a stream says whose work it is, and the code that runs
the model, however deep below, says how it can be ended.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class Interrupt:
    """One stream's wish to end. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._end: Callable[[], None] | None = None
        self._raised = False

    @property
    def raised(self) -> bool:
        return self._raised

    def raise_(self) -> None:
        """End what is running now and all that begins later."""
        with self._lock:
            self._raised = True
            if self._end is not None:
                self._end()

    def _enter(self, end: Callable[[], None]) -> None:
        with self._lock:
            self._end = end
            if self._raised:
                end()

    def _leave(self) -> None:
        with self._lock:
            self._end = None


_CURRENT: ContextVar[Interrupt | None] = ContextVar("interrupt", default=None)


@contextmanager
def interrupted_by(interrupt: Interrupt) -> Iterator[None]:
    """What runs in the block, in this thread, is this stream's work."""
    token = _CURRENT.set(interrupt)
    try:
        yield
    finally:
        _CURRENT.reset(token)


@contextmanager
def interruptible(end: Callable[[], None]) -> Iterator[None]:
    """While the block runs, another thread may call `end`, which makes it raise soon."""
    interrupt = _CURRENT.get()
    if interrupt is None:
        yield
        return
    interrupt._enter(end)
    try:
        yield
    finally:
        interrupt._leave()


def check_interrupt() -> None:
    """For a computation that nothing can end from outside: called between its steps.

    Raises:
        RuntimeError: interrupted.
    """
    interrupt = _CURRENT.get()
    if interrupt is not None and interrupt.raised:
        raise RuntimeError("interrupted")
