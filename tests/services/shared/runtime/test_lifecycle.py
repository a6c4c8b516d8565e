"""Starting, admitting, draining, failing."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack

import pytest
from prometheus_client import CollectorRegistry

from services.shared.protocol.base import ErrorCode, ProtocolError
from services.shared.runtime.auth import KeyRing
from services.shared.runtime.config import LimitsConfig
from services.shared.runtime.lifecycle import HANG_S, Lifecycle, Phase, running
from tests.services.serving import eventually

LIMIT_S = 10.0


async def nothing() -> None:
    """Nothing to load."""


def starting(max_sessions: int = 2) -> Lifecycle:
    return Lifecycle(LimitsConfig(max_sessions=max_sessions), KeyRing([]), CollectorRegistry())


def ready(max_sessions: int = 2) -> Lifecycle:
    lifecycle = starting(max_sessions)
    lifecycle.phase = Phase.READY
    return lifecycle


def refusal(lifecycle: Lifecycle) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught, lifecycle.admit():
        pass
    return caught.value


def counted(lifecycle: Lifecycle, name: str, **labels: str) -> float:
    return lifecycle.metrics.registry.get_sample_value(name, labels) or 0.0


async def test_sessions_are_counted_in_and_out() -> None:
    lifecycle = ready()
    with lifecycle.admit(), lifecycle.admit():
        assert lifecycle.sessions == counted(lifecycle, "voice_sessions") == 2
        assert refusal(lifecycle).code is ErrorCode.OVERLOADED
    assert lifecycle.sessions == counted(lifecycle, "voice_sessions") == 0
    with pytest.raises(ValueError, match="inside"), lifecycle.admit():
        raise ValueError("inside")
    assert lifecycle.sessions == 0
    assert counted(lifecycle, "voice_sessions_opened_total") == 3
    assert counted(lifecycle, "voice_sessions_refused_total", reason="overloaded") == 1


@pytest.mark.parametrize(
    ("phase", "code", "said"),
    [
        (Phase.STARTING, ErrorCode.OVERLOADED, "loading"),
        (Phase.DRAINING, ErrorCode.SHUTTING_DOWN, "shutting down"),
        (Phase.FAILED, ErrorCode.SHUTTING_DOWN, "shutting down"),
    ],
)
async def test_only_a_ready_service_admits(phase: Phase, code: ErrorCode, said: str) -> None:
    lifecycle = starting()
    lifecycle.phase = phase
    assert refusal(lifecycle).code is code
    assert said in refusal(lifecycle).message


async def test_draining_waits_for_the_last_session() -> None:
    lifecycle = ready()
    with ExitStack() as session:
        session.enter_context(lifecycle.admit())
        draining = asyncio.create_task(lifecycle.drain(5.0))
        await asyncio.sleep(0.02)
        assert refusal(lifecycle).code is ErrorCode.SHUTTING_DOWN
        assert not draining.done()
        assert not lifecycle.closing.is_set()
    await asyncio.wait_for(draining, LIMIT_S)


async def test_who_outlives_the_drain_is_asked_to_leave() -> None:
    lifecycle = ready()
    with ExitStack() as session:
        session.enter_context(lifecycle.admit())
        draining = asyncio.create_task(lifecycle.drain(0.02))
        await asyncio.wait_for(lifecycle.closing.wait(), LIMIT_S)
        assert not draining.done(), "it has time to say goodbye"
    await asyncio.wait_for(draining, LIMIT_S)


async def test_who_has_a_session_may_come_back_until_the_drain_is_over() -> None:
    lifecycle = ready()
    lifecycle.check_running()
    with ExitStack() as session:
        session.enter_context(lifecycle.admit())
        draining = asyncio.create_task(lifecycle.drain(0.05))
        await asyncio.sleep(0)  # it has begun, and the loop has had no time for its end
        lifecycle.check_running()
        with pytest.raises(ProtocolError, match="shutting down"):
            lifecycle.check_open()
        await asyncio.wait_for(lifecycle.closing.wait(), LIMIT_S)
        with pytest.raises(ProtocolError, match="shutting down"):
            lifecycle.check_running()
    await asyncio.wait_for(draining, LIMIT_S)


async def test_an_idle_service_drains_at_once() -> None:
    began = time.monotonic()
    await ready().drain(30.0)
    assert time.monotonic() - began < LIMIT_S


async def test_it_is_ready_when_the_models_are() -> None:
    lifecycle, loaded, unloaded = starting(), asyncio.Event(), asyncio.Event()

    async def load() -> None:
        await loaded.wait()

    async def unload() -> None:
        unloaded.set()

    async with running(lifecycle, load, unload):
        await asyncio.sleep(0.01)
        assert lifecycle.phase is Phase.STARTING
        loaded.set()
        await eventually(lambda: lifecycle.phase is Phase.READY)
        assert not unloaded.is_set()
    assert unloaded.is_set()


async def test_a_failed_start_says_why() -> None:
    lifecycle = starting()

    async def load() -> None:
        raise FileNotFoundError("model.bin")

    async with running(lifecycle, load, nothing):
        await asyncio.wait_for(lifecycle.failed.wait(), LIMIT_S)
    assert lifecycle.phase is Phase.FAILED
    assert lifecycle.failure == "FileNotFoundError: model.bin"


async def test_models_that_load_during_a_shutdown_open_nothing() -> None:
    lifecycle, loaded = starting(), asyncio.Event()

    async def load() -> None:
        await loaded.wait()

    async with running(lifecycle, load, nothing):
        await lifecycle.drain(1.0)
        loaded.set()
        await asyncio.sleep(0.01)
        assert lifecycle.phase is Phase.DRAINING


async def test_a_start_can_be_broken_off() -> None:
    lifecycle = starting()
    forever: Callable[[], Awaitable[None]] = asyncio.Event().wait  # type: ignore[assignment]
    async with asyncio.timeout(LIMIT_S), running(lifecycle, forever, nothing):
        await asyncio.sleep(0)
    assert lifecycle.phase is Phase.STARTING


async def test_a_hung_model_is_named() -> None:
    class Owner:
        def __init__(self, name: str, busy_s: float) -> None:
            self.name, self._busy_s = name, busy_s

        def busy_for(self) -> float:
            return self._busy_s

    lifecycle = ready()
    lifecycle.owners += [Owner("vad", 1.0), Owner("asr", HANG_S + 1)]
    assert lifecycle.hung() == ["asr"]


async def test_the_lag_of_the_loop_is_measured() -> None:
    lifecycle = ready()
    watching = asyncio.create_task(lifecycle.metrics.watch_loop(interval=0.01))
    await asyncio.sleep(0.02)
    time.sleep(0.06)  # noqa: ASYNC251 - what is to be noticed
    await asyncio.sleep(0.03)
    watching.cancel()
    await watching
    slow = counted(lifecycle, "voice_event_loop_lag_seconds_bucket", le="0.02")
    assert counted(lifecycle, "voice_event_loop_lag_seconds_count") > slow


async def test_tasks_are_counted() -> None:
    lifecycle = ready()
    sleeping = [asyncio.create_task(asyncio.sleep(10)) for _ in range(20)]
    watching = asyncio.create_task(lifecycle.metrics.watch_loop(interval=0.01))
    await asyncio.sleep(0.02)
    for task in (*sleeping, watching):
        task.cancel()
    await asyncio.gather(*sleeping, watching, return_exceptions=True)
    assert 21 <= counted(lifecycle, "voice_asyncio_tasks") <= 40
