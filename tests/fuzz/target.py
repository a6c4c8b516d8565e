"""What is fuzzed: a name, a way to open it, and what an input may cost."""

import contextlib
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NoReturn

import structlog

from tests.fuzz.source import Source

Try = Callable[[Source], None]
"""Tries one input; whatever it raises is a finding."""


class Violation(AssertionError):
    """Something did not crash, but is wrong."""


def check(holds: bool, what: str) -> None:
    """An invariant; not `assert`, whose cost of explaining itself would be paid on every input."""
    if not holds:
        raise Violation(what)


@dataclass(frozen=True)
class Target:
    name: str
    open: Callable[[], AbstractContextManager[Try]]
    most_bytes: int = 512
    """Longest input."""
    limit_s: float = 1.0
    """Of CPU time that one input may take, or of wall clock for those that wait for others."""
    waits: bool = False
    """Others work for it (a server): wall clock counts, and machines under load make it slow."""
    share: int = 1
    """Of all inputs, in relation to the other targets."""


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Nothing is logged meanwhile: what is wrong with an input is said a hundred thousand times."""
    before = structlog.get_config()
    structlog.configure(processors=[_dropped])
    logging.disable()
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        structlog.configure(**before)


def _dropped(_logger: object, _method: str, _event: structlog.types.EventDict) -> NoReturn:
    raise structlog.DropEvent


def pure(name: str, attempt: Try, *, share: int, most_bytes: int = 512) -> Target:
    """A target that needs nothing to be opened."""
    return Target(name, lambda: contextlib.nullcontext(attempt), most_bytes, share=share)
