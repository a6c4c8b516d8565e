"""The owner of a model: order, batches, faults, cancellation, the end."""

import asyncio
import gc
import random
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from services.shared.runtime.metrics import ModelMetrics
from services.shared.runtime.scheduler import (
    Completed,
    Pace,
    Priority,
    QueueFull,
    Scheduler,
    SchedulerClosed,
)
from tests.services.serving import eventually

pytestmark = pytest.mark.timeout(20)


class Model:
    """Notes what it is given; holds its first batch until `gate` opens, so that work piles up."""

    def __init__(self, answer: Callable[[Any], Any] = lambda payload: payload) -> None:
        self.batches: list[list[Any]] = []
        self.gate = threading.Event()
        self.entered = threading.Event()
        self._answer = answer

    def run(self, batch: list[Any]) -> Sequence[Any]:
        self.batches.append(list(batch))
        self.entered.set()
        assert self.gate.wait(10)
        return [self._answer(payload) for payload in batch]


@asynccontextmanager
async def owned(
    model: Model, *, lanes: int = 1, **options: Any
) -> AsyncIterator[Scheduler[Any, Any]]:
    scheduler: Scheduler[Any, Any] = Scheduler(
        "test", model.run, metrics=ModelMetrics(CollectorRegistry()), **options
    )
    scheduler.start(lanes)
    try:
        yield scheduler
    finally:
        model.gate.set()
        assert await scheduler.close()


async def occupied(scheduler: Scheduler[Any, Any], model: Model) -> asyncio.Future[Any]:
    """The model has begun with a first job and does not finish it yet."""
    first = scheduler.submit("first")
    await asyncio.to_thread(model.entered.wait, 5)
    return first


def ran(model: Model) -> Iterator[Any]:
    return (payload for batch in model.batches for payload in batch)


# Order.


async def test_the_urgent_first_and_of_those_the_earliest_deadline() -> None:
    model = Model()
    async with owned(model) as scheduler:
        first = await occupied(scheduler, model)
        now = time.monotonic()
        jobs = [
            scheduler.submit("bulk", priority=Priority.BULK, deadline=now - 100),
            scheduler.submit("normal"),
            scheduler.submit("late", priority=Priority.URGENT, deadline=now + 9),
            scheduler.submit("soon", priority=Priority.URGENT, deadline=now + 1),
            scheduler.submit("normal too"),
        ]
        model.gate.set()
        await asyncio.gather(first, *jobs)
    assert list(ran(model)) == ["first", "soon", "late", "normal", "normal too", "bulk"]


async def test_a_result_tells_what_it_cost() -> None:
    model = Model(lambda payload: payload.upper())
    async with owned(model) as scheduler:
        first = await occupied(scheduler, model)
        second = scheduler.submit("b")
        await asyncio.sleep(0.05)
        assert scheduler.busy_for() >= 0.05
        model.gate.set()
        done: Completed[str] = await second
        assert (done.value, done.batch_size) == ("B", 1)
        assert done.queue_ms >= 45
        assert (await first).run_ms >= 45
    assert scheduler.busy_for() == 0


async def test_it_tells_how_late_urgent_answers_are() -> None:
    model = Model()
    async with owned(model, batch_cost=lambda _: 1.0) as scheduler:
        assert (scheduler.late_s(), scheduler.occupied()) == (0.0, 0.0)
        first = await occupied(scheduler, model)
        await asyncio.sleep(0.1)
        assert scheduler.late_s() == 0.0, "it is not urgent"
        second = scheduler.submit("b", priority=Priority.URGENT)
        given_up = scheduler.submit("c", priority=Priority.URGENT)
        await asyncio.sleep(0.2)
        assert 0.2 <= scheduler.late_s() < 5.0
        given_up.cancel()
        model.gate.set()
        await asyncio.gather(first, second)
        assert 0.15 <= scheduler.late_s() < 5.0, "so late was the latest answer"
        assert scheduler.occupied() < 0.1, "it ran for no time"


# Batches.


async def test_equal_keys_share_a_batch() -> None:
    model = Model()
    async with owned(model, batch_key=lambda payload: payload[0], max_batch=3) as scheduler:
        first = await occupied(scheduler, model)
        jobs = [scheduler.submit(f"{key}{number}") for number in range(4) for key in "ab"]
        model.gate.set()
        await asyncio.gather(first, *jobs)
    assert model.batches[1:] == [["a0", "a1", "a2"], ["b0", "b1", "b2"], ["a3"], ["b3"]]


# Faults.


async def test_one_bad_item_fails_alone_when_the_model_says_so() -> None:
    model = Model(lambda payload: ValueError("bad") if payload == "bad" else payload)
    async with owned(model, max_batch=9) as scheduler:
        first = await occupied(scheduler, model)
        jobs = [scheduler.submit(payload) for payload in ("a", "bad", "b")]
        model.gate.set()
        good, bad, good_too = await asyncio.gather(*jobs, return_exceptions=True)
        assert isinstance(good, Completed)
        assert isinstance(good_too, Completed)
        assert isinstance(bad, ValueError)
        await first
    assert model.batches[1:] == [["a", "bad", "b"]]


@pytest.mark.parametrize(
    "fault", [ValueError("bad"), StopIteration(), SystemExit(1), KeyboardInterrupt(), MemoryError()]
)
async def test_one_bad_item_fails_alone_when_the_model_raises(fault: BaseException) -> None:
    def answer(payload: str) -> str:
        if payload == "bad":
            raise fault
        return payload

    model = Model(answer)
    async with owned(model, max_batch=9) as scheduler:
        await occupied(scheduler, model)
        jobs = [scheduler.submit(payload) for payload in ("a", "bad", "b")]
        model.gate.set()
        good, bad, good_too = await asyncio.gather(*jobs, return_exceptions=True)
        assert isinstance(good, Completed)
        assert isinstance(good_too, Completed)
        assert isinstance(bad, Exception)
        assert (await scheduler.submit("after")).value == "after"


@pytest.mark.parametrize("results", [[], ["a", "b"], None])
async def test_a_wrong_number_of_results_is_a_fault(results: list[str] | None) -> None:
    scheduler: Scheduler[str, str] = Scheduler(
        "test",
        lambda batch: results,  # type: ignore[arg-type, return-value]
        metrics=ModelMetrics(CollectorRegistry()),
    )
    scheduler.start()
    with pytest.raises((RuntimeError, TypeError)):
        await scheduler.submit("a")
    assert await scheduler.close()


@pytest.mark.parametrize("option", ["batch_key", "batch_cost"])
async def test_a_payload_that_cannot_be_measured_fails_alone(option: str) -> None:
    def measure(payload: str) -> float:
        if payload == "bad":
            raise ValueError(payload)
        return 1.0

    model = Model()
    measured: dict[str, Any] = {option: measure}
    async with owned(model, max_batch=9, **measured) as scheduler:
        await occupied(scheduler, model)
        good, bad = scheduler.submit("good"), scheduler.submit("bad")
        model.gate.set()
        with pytest.raises(ValueError, match="bad"):
            await bad
        assert (await good).value == "good"
    assert "bad" not in ran(model)


# Withdrawing and refusing.


async def test_a_cancelled_job_is_not_run_and_not_kept() -> None:
    class Audio:
        pass

    model = Model()
    async with owned(model) as scheduler:
        first = await occupied(scheduler, model)
        audio = Audio()
        kept = weakref.ref(audio)
        unwanted = scheduler.submit(audio)
        wanted = scheduler.submit("wanted")
        del audio
        unwanted.cancel()
        await asyncio.sleep(0)
        assert scheduler.pending == 1
        del unwanted
        gc.collect()
        assert kept() is None, "its audio is freed while the model still works on another"
        model.gate.set()
        await asyncio.gather(first, wanted)
    assert list(ran(model)) == ["first", "wanted"]


async def test_a_job_cancelled_while_it_runs_harms_nobody() -> None:
    model = Model()
    async with owned(model) as scheduler:
        first = await occupied(scheduler, model)
        first.cancel()
        second = scheduler.submit("second")
        model.gate.set()
        assert (await second).value == "second"


async def test_a_full_queue_refuses_all_but_the_urgent() -> None:
    model = Model()
    async with owned(model, max_pending=2) as scheduler:
        first = await occupied(scheduler, model)
        waiting = [scheduler.submit(number) for number in range(2)]
        with pytest.raises(QueueFull, match="2 jobs waiting"):
            scheduler.submit("one too many")
        urgent = scheduler.submit("urgent", priority=Priority.URGENT)
        for job in (waiting[0], urgent):
            job.cancel()
        await asyncio.sleep(0)
        third = scheduler.submit("there is room again")
        model.gate.set()
        await asyncio.gather(first, waiting[1], third)


# The end.


async def test_closing_fails_what_waits_and_finishes_what_runs() -> None:
    model = Model()
    scheduler: Scheduler[str, str] = Scheduler(
        "test", model.run, metrics=ModelMetrics(CollectorRegistry())
    )
    scheduler.start()
    first = await occupied(scheduler, model)
    waiting = scheduler.submit("waiting")
    closing = asyncio.create_task(scheduler.close())
    with pytest.raises(SchedulerClosed):
        await waiting
    with pytest.raises(SchedulerClosed):
        scheduler.submit("too late")
    model.gate.set()
    assert await closing
    assert (await first).value == "first"
    assert await scheduler.close(), "closing twice is no fault"


async def test_a_model_that_hangs_is_reported() -> None:
    model = Model()
    scheduler: Scheduler[str, str] = Scheduler(
        "test", model.run, metrics=ModelMetrics(CollectorRegistry())
    )
    scheduler.start()
    first = await occupied(scheduler, model)
    assert not await scheduler.close(timeout=0.05)
    model.gate.set()
    await first
    assert await scheduler.close()


async def test_closing_what_was_never_started() -> None:
    scheduler: Scheduler[str, str] = Scheduler(
        "test", Model().run, metrics=ModelMetrics(CollectorRegistry())
    )
    waiting = scheduler.submit("waiting")
    assert await scheduler.close()
    with pytest.raises(SchedulerClosed):
        await waiting


async def test_a_loop_that_is_gone_takes_nobody_with_it() -> None:
    """A batch with jobs of a closed loop and of a live one answers the live one."""
    model = Model()
    async with owned(model, max_batch=9) as scheduler:
        first = await occupied(scheduler, model)

        async def leave() -> None:
            scheduler.submit("gone")

        await asyncio.to_thread(asyncio.run, leave())
        here = scheduler.submit("here")
        model.gate.set()
        assert (await here).value == "here"
        await first
        assert (await scheduler.submit("after")).value == "after"


async def test_thousands_of_jobs_are_each_answered_once() -> None:
    dice = random.Random(7)
    seen: list[int] = []

    def run(batch: list[int]) -> list[int | Exception]:
        seen.extend(batch)
        if dice.random() < 0.1:
            raise RuntimeError("the whole batch")
        return [ValueError(str(n)) if n % 13 == 0 else -n for n in batch]

    scheduler: Scheduler[int, int] = Scheduler(
        "test",
        run,
        metrics=ModelMetrics(CollectorRegistry()),
        batch_key=lambda number: number % 3,
        max_batch=8,
        max_pending=10_000,
    )
    scheduler.start()
    jobs = {}
    for number in range(1, 2001):
        jobs[number] = scheduler.submit(number, priority=dice.choice(list(Priority)))
        if dice.random() < 0.1:
            jobs[dice.randint(1, number)].cancel()
        if dice.random() < 0.05:
            await asyncio.sleep(0.001)
    answers = await asyncio.gather(*jobs.values(), return_exceptions=True)
    assert await scheduler.close()
    for number, answer in zip(jobs, answers, strict=True):
        if isinstance(answer, Completed):
            assert answer.value == -number
        elif isinstance(answer, ValueError):
            assert str(answer) == str(number)
        else:
            assert isinstance(answer, asyncio.CancelledError | RuntimeError)
    answered = [number for number, job in jobs.items() if not job.cancelled()]
    assert set(answered) <= set(seen)
    assert scheduler.pending == 0


# Lanes.


class Lanes:
    """A model that may be entered by several threads; each job waits for its own gate."""

    def __init__(self) -> None:
        self.gates = {name: threading.Event() for name in "abcdef"}
        self.running: set[str] = set()
        self.most = 0
        self._lock = threading.Lock()

    def run(self, batch: list[str]) -> list[str]:
        with self._lock:
            self.running |= set(batch)
            self.most = max(self.most, len(self.running))
        for name in batch:
            assert self.gates[name].wait(10)
        with self._lock:
            self.running -= set(batch)
        return batch

    async def busy_with(self, *names: str) -> bool:
        for _ in range(500):
            if self.running == set(names):
                return True
            await asyncio.sleep(0.005)
        return False


@asynccontextmanager
async def two_lanes() -> AsyncIterator[tuple[Scheduler[str, str], Lanes]]:
    model = Lanes()
    scheduler: Scheduler[str, str] = Scheduler(
        "test", model.run, metrics=ModelMetrics(CollectorRegistry())
    )
    scheduler.start(2)
    try:
        yield scheduler, model
    finally:
        for gate in model.gates.values():
            gate.set()
        assert await scheduler.close()


async def test_urgent_work_runs_in_every_lane() -> None:
    async with two_lanes() as (scheduler, model):
        jobs = [scheduler.submit(name, priority=Priority.URGENT) for name in "abc"]
        assert await model.busy_with("a", "b")
        model.gates["b"].set()
        assert (await jobs[1]).value == "b"
        assert await model.busy_with("a", "c")


async def test_other_work_leaves_a_lane_free_for_urgent_work() -> None:
    async with two_lanes() as (scheduler, model):
        partial = scheduler.submit("a")
        bulk = scheduler.submit("b", priority=Priority.BULK)
        assert await model.busy_with("a")
        final = scheduler.submit("c", priority=Priority.URGENT)
        assert await model.busy_with("a", "c")
        model.gates["c"].set()
        assert (await final).value == "c"
        assert await model.busy_with("a"), "bulk does not take the lane that is kept free"
        model.gates["a"].set()
        assert (await partial).value == "a"
        assert await model.busy_with("b")
        model.gates["b"].set()
        assert (await bulk).value == "b"


async def test_a_hang_shows_while_another_lane_works_on() -> None:
    async with two_lanes() as (scheduler, model):
        hung = scheduler.submit("a", priority=Priority.URGENT)
        assert await model.busy_with("a")
        await asyncio.sleep(0.1)
        model.gates["b"].set()
        assert (await scheduler.submit("b", priority=Priority.URGENT)).value == "b"
        assert scheduler.busy_for() >= 0.1
        model.gates["a"].set()
        await hung


# Batches by prediction.


async def test_a_batch_is_no_longer_than_predicted_time_allows() -> None:
    def run(batch: list[str]) -> list[str]:
        time.sleep(0.02 * len(batch))
        return batch

    async def largest() -> int:
        scheduler: Scheduler[str, str] = Scheduler(
            "test",
            run,
            metrics=ModelMetrics(CollectorRegistry()),
            max_batch=16,
            batch_cost=lambda _: 1.0,
            max_batch_s=0.09,
        )
        scheduler.start()
        try:
            for _ in range(5):  # learns what one costs
                await scheduler.submit("x")
            done = await asyncio.gather(*(scheduler.submit("x") for _ in range(20)))
            return max(answer.batch_size for answer in done)
        finally:
            assert await scheduler.close()

    for _ in range(5):  # a machine that stands still meanwhile teaches it that one costs more
        size = await largest()
        assert size <= 4
        if size >= 2:
            return
    pytest.fail("nothing was batched")


async def test_what_is_too_long_for_a_batch_lets_shorter_work_join() -> None:
    batches, gate = list[list[int]](), threading.Event()

    def run(batch: list[int]) -> list[int]:
        batches.append(batch)
        if batch == [20]:
            assert gate.wait(10)
        else:
            time.sleep(0.05)
        return batch

    scheduler: Scheduler[int, int] = Scheduler(
        "test",
        run,
        metrics=ModelMetrics(CollectorRegistry()),
        max_batch=16,
        batch_cost=lambda payload: payload,
        max_batch_s=5.0,
    )
    scheduler.start()
    try:
        await scheduler.submit(5)  # learns what one costs: 10 ms, or more on a busy machine
        blocking = scheduler.submit(20)
        await eventually(lambda: batches[-1] == [20])
        jobs = [scheduler.submit(cost) for cost in (5, 1000, 2)]
        gate.set()
        await asyncio.gather(blocking, *jobs)
    finally:
        assert await scheduler.close()
    assert batches == [[5], [20], [5, 2], [1000]]


def test_pace_follows_what_batches_take() -> None:
    pace = Pace()
    assert pace.predict(10) == 0
    for _ in range(100):
        pace.learn(2, 0.5)
    assert pace.predict(4) == pytest.approx(1.0)
    for _ in range(100):
        pace.learn(2, 1.0)
    assert pace.predict(4) == pytest.approx(2.0, rel=0.01)
    pace.learn(0, 5.0)  # work without a known cost teaches nothing
    assert pace.predict(4) == pytest.approx(2.0, rel=0.01)


async def test_work_of_another_class_does_not_lengthen_an_urgent_batch() -> None:
    model = Model()
    async with owned(model, max_batch=9) as scheduler:
        first = await occupied(scheduler, model)
        jobs = [
            scheduler.submit("bulk", priority=Priority.BULK),
            scheduler.submit("a", priority=Priority.URGENT),
            scheduler.submit("partial"),
            scheduler.submit("b", priority=Priority.URGENT),
        ]
        model.gate.set()
        await asyncio.gather(first, *jobs)
    assert model.batches[1:] == [["a", "b"], ["partial"], ["bulk"]]


async def test_jobs_that_trickle_in_are_gathered() -> None:
    batches = list[list[int]]()

    def run(batch: list[int]) -> list[int]:
        batches.append(batch)
        return batch

    scheduler: Scheduler[int, int] = Scheduler(
        "test",
        run,
        metrics=ModelMetrics(CollectorRegistry()),
        max_batch=64,
        gather_s=0.1,
    )
    scheduler.start()
    try:
        began = time.monotonic()
        await scheduler.submit(0, priority=Priority.URGENT)
        later = []
        for number in range(1, 11):
            later.append(scheduler.submit(number, priority=Priority.URGENT))
            await asyncio.sleep(0.002)
        await asyncio.gather(*later)
        took_s = time.monotonic() - began
    finally:
        assert await scheduler.close()
    assert batches[0] == [0]
    assert [number for batch in batches for number in batch] == list(range(11))
    assert len(batches) <= 2 + took_s / 0.1, "one each 100 ms, and not one a job"


async def test_a_job_after_a_pause_is_not_held_back_by_gathering() -> None:
    scheduler: Scheduler[int, int] = Scheduler(
        "test", lambda batch: batch, metrics=ModelMetrics(CollectorRegistry()), gather_s=0.05
    )
    scheduler.start()
    try:
        await scheduler.submit(0, priority=Priority.URGENT)
        waits = []
        for number in range(5):
            await asyncio.sleep(0.1)
            waits.append((await scheduler.submit(number, priority=Priority.URGENT)).queue_ms)
    finally:
        assert await scheduler.close()
    assert min(waits) < 25


async def test_a_job_that_is_waited_for_is_not_held_back_by_gathering() -> None:
    scheduler: Scheduler[int, int] = Scheduler(
        "test", lambda batch: batch, metrics=ModelMetrics(CollectorRegistry()), gather_s=5.0
    )
    scheduler.start()
    try:
        async with asyncio.timeout(4):
            for number in range(3):
                await scheduler.submit(number, priority=Priority.URGENT, at_once=True)
            gathered = scheduler.submit(3, priority=Priority.URGENT)
            await asyncio.sleep(0.2)
            assert not gathered.done()
            await scheduler.submit(4, priority=Priority.URGENT, at_once=True)
            assert (await gathered).value == 3
    finally:
        assert await scheduler.close()
