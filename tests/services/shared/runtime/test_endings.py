"""Exceptions that have been dealt with keep nothing alive."""

import asyncio
import gc
import weakref

import pytest

from services.shared.runtime.endings import forget_frames


class Held:
    """Something large."""


async def _fails_with(held: list[Held]) -> ExceptionGroup[Exception]:
    kept = held.pop()

    async def fail() -> None:
        try:
            raise KeyError(id(kept))
        except KeyError as error:
            raise ValueError("in a nested group") from error

    try:
        async with asyncio.TaskGroup() as outer:
            async with asyncio.TaskGroup() as inner:
                inner.create_task(fail())
            outer.create_task(fail())
    except ExceptionGroup as group:
        return group
    raise AssertionError


@pytest.mark.parametrize("forgets", [False, True])
async def test_frames_are_let_go_of_without_the_collector(*, forgets: bool) -> None:
    held = [Held()]
    there = weakref.ref(held[0])
    gc.collect()
    gc.disable()
    try:
        group = await _fails_with(held)
        if forgets:
            forget_frames(group)
        await asyncio.sleep(0)
        assert (there() is None) is forgets
        assert [str(error) for error in group.exceptions]
    finally:
        gc.enable()


def test_an_exception_that_is_its_own_cause_is_no_endless_matter() -> None:
    error = ValueError("once")
    error.__cause__ = error
    forget_frames(error)
    assert error.__traceback__ is None
