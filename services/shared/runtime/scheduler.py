"""The one owner of a model: threads that run batches of jobs, most urgent first.

This is the only place where threads, batching, priorities, cancellation and back-pressure of a
model live. Callers on the event loop await :meth:`Scheduler.submit`; engines stay synchronous, and
only those that say so are entered by more than one thread (lanes).
"""

import asyncio
import contextlib
import itertools
import math
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Generic, TypeVar

import structlog

from services.shared.runtime.lateness import WINDOW_S, Lateness
from services.shared.runtime.metrics import ModelMetrics

P = TypeVar("P")
R = TypeVar("R")

log = structlog.get_logger(__name__)


class Priority(IntEnum):
    """Classes of work; a lower class never runs while a higher one waits."""

    URGENT = 0
    """Somebody waits for this answer in a conversation: finals, audio about to underrun."""
    NORMAL = 1
    """Worth having soon, replaceable by a newer one: partials."""
    BULK = 2
    """Throughput work: file transcription."""


class QueueFull(Exception):
    """The model has as much work waiting as it may hold; try later."""


class SchedulerClosed(Exception):
    """The service is shutting down."""


@dataclass(frozen=True, slots=True)
class Completed(Generic[R]):
    """A job's result with what it cost."""

    value: R
    queue_ms: float
    run_ms: float
    batch_size: int


@dataclass(slots=True, eq=False)
class _Job(Generic[P, R]):
    payload: P
    priority: Priority
    deadline: float
    sequence: int
    future: "asyncio.Future[Completed[R]]"
    at_once: bool = False
    enqueued_at: float = field(default_factory=time.monotonic)
    key: Hashable = None
    cost: float = 0.0
    measured: bool = False
    fault: Exception | None = None
    """Why its key or cost is not known."""

    @property
    def order(self) -> tuple[int, float, int]:
        return (self.priority, self.deadline, self.sequence)


@dataclass(frozen=True, slots=True)
class _Batch(Generic[P, R]):
    """What a lane is doing."""

    jobs: list[_Job[P, R]]
    started: float = field(default_factory=time.monotonic)

    @property
    def priority(self) -> Priority:
        return self.jobs[0].priority

    @property
    def cost(self) -> float:
        return sum(job.cost for job in self.jobs)


class Pace:
    """Predicts how long a batch takes from what earlier ones took for their cost."""

    _WEIGHT = 0.1
    """Of the newest batch: the memory is of about ten."""

    def __init__(self) -> None:
        self._s_per_cost = 0.0

    def learn(self, cost: float, seconds: float) -> None:
        if cost <= 0:
            return
        pace = seconds / cost
        known = self._s_per_cost or pace
        self._s_per_cost = known + self._WEIGHT * (pace - known)

    def predict(self, cost: float) -> float:
        """Seconds; 0 before anything was learnt."""
        return self._s_per_cost * cost


class Scheduler(Generic[P, R]):
    """Runs `run(batch)` in threads of its own.

    Args:
        name: for logs, metrics and the thread.
        run: takes a batch of payloads, returns one result or exception for each, in order. When it
            raises, the items of the batch are tried again one by one: only the guilty one fails.
        batch_key: jobs with equal keys may share a batch.
        max_batch: most jobs in one batch.
        max_pending: most jobs waiting; more raise :class:`QueueFull`. URGENT work is bounded by
            its callers (one or two a session) and always admitted.
        batch_cost: cost of one payload in any unit, from which the time of a batch is predicted.
        max_batch_s: longest batch by prediction from what earlier ones took for their cost, so that
            a crowd of cheap jobs does not make the next urgent one wait; a single job always runs.
        gather_s: least time from an URGENT batch of a lane to its next batch. Cheap jobs in crowds
            would each wake the thread, which then fights the event loop for the interpreter; a job
            that comes after a pause is not delayed, nor is work that waits for its own answers.
    """

    def __init__(
        self,
        name: str,
        run: Callable[[list[P]], Sequence[R | Exception]],
        *,
        metrics: ModelMetrics,
        batch_key: Callable[[P], Hashable] = lambda _: None,
        max_batch: int = 1,
        max_pending: int = 1024,
        batch_cost: Callable[[P], float] = lambda _: 0.0,
        max_batch_s: float = math.inf,
        gather_s: float = 0.0,
    ) -> None:
        self.name = name
        self._run = run
        self._batch_key = batch_key
        self._max_batch = max_batch
        self._max_pending = max_pending
        self._batch_cost = batch_cost
        self._max_batch_s = max_batch_s
        self._gather_s = gather_s
        self._pace = Pace()
        self._lateness = Lateness()
        self._pending: list[_Job[P, R]] = []
        self._condition = threading.Condition()
        self._hurry = threading.Event()
        """Ends the time in which jobs are gathered."""
        self._sequence = itertools.count()
        self._closed = False
        self._lanes = 1
        self._running: dict[int, _Batch[P, R]] = {}
        """What each busy lane is doing."""
        self._metrics = metrics.of(name)
        self._threads: list[threading.Thread] = []

    def start(self, lanes: int = 1) -> None:
        """Begin to run.

        Args:
            lanes: batches that the model can run at the same time. Where there are several, one is
                kept for URGENT work.
        """
        self._lanes = lanes
        for lane in range(lanes):
            name = f"model-{self.name}-{lane}"
            thread = threading.Thread(target=self._work, args=(lane,), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    @property
    def pending(self) -> int:
        return len(self._pending)

    def busy_for(self) -> float:
        """Seconds that the oldest batch has been running; 0 when idle. A large value is a hang."""
        with self._condition:
            started = [batch.started for batch in self._running.values()]
        return time.monotonic() - min(started) if started else 0.0

    def late_s(self) -> float:
        """How late URGENT answers are: see :mod:`.lateness`."""
        with self._condition:
            jobs = [job for batch in self._running.values() for job in batch.jobs] + self._pending
            waiting = [
                (job.enqueued_at, job.cost)
                for job in jobs
                if job.priority is Priority.URGENT and not job.future.cancelled()
            ]
            return self._lateness.late_s(time.monotonic(), waiting)

    def occupied(self) -> float:
        """Share of the model's time that URGENT work has taken lately, 0 to 1."""
        with self._condition:
            return self._lateness.occupied_s(time.monotonic()) / (WINDOW_S * self._lanes)

    def submit(
        self,
        payload: P,
        *,
        priority: Priority = Priority.NORMAL,
        deadline: float | None = None,
        at_once: bool = False,
    ) -> "asyncio.Future[Completed[R]]":
        """Queue one job; cancel the returned future to withdraw it while it still waits.

        Args:
            at_once: somebody waits for just this one: nothing is gathered before it.
            deadline: `time.monotonic()` by which the answer is wanted; orders jobs of one priority.
                Default: now, which makes the order first come, first served.

        Raises:
            QueueFull, SchedulerClosed
        """
        future: asyncio.Future[Completed[R]] = asyncio.get_running_loop().create_future()
        with self._condition:
            if self._closed:
                raise SchedulerClosed(f"{self.name} is shutting down")
            if priority is not Priority.URGENT and len(self._pending) >= self._max_pending:
                self._metrics.refused()
                raise QueueFull(f"{self.name} has {len(self._pending)} jobs waiting")
            when = time.monotonic() if deadline is None else deadline
            job = _Job(payload, priority, when, next(self._sequence), future, at_once)
            self._pending.append(job)
            self._metrics.waiting(len(self._pending))
            self._condition.notify()
            if at_once:
                self._hurry.set()
        future.add_done_callback(lambda done: self._withdraw(job) if done.cancelled() else None)
        return future

    def hasten(self, payload: P, deadline: float) -> None:
        """Bring the deadline of a payload's waiting job forward; one that runs is left alone."""
        with self._condition:
            for job in self._pending:
                if job.payload is payload:
                    job.deadline = min(job.deadline, deadline)

    def _withdraw(self, job: _Job[P, R]) -> None:
        """Forget a cancelled job now: its audio is large, and its place is wanted."""
        with self._condition, contextlib.suppress(ValueError):
            self._pending.remove(job)
            self._metrics.waiting(len(self._pending))

    async def close(self, timeout: float = 10.0) -> bool:
        """Refuse new work, fail what waits, let the running batches finish.

        Returns:
            False when one did not finish in `timeout` seconds.
        """
        with self._condition:
            self._closed = True
            waiting, self._pending = self._pending, []
            self._condition.notify_all()
        for job in waiting:
            if not job.future.done():
                job.future.set_exception(SchedulerClosed(f"{self.name} is shutting down"))
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            if thread.is_alive():
                await asyncio.to_thread(thread.join, max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    # The threads' side.

    def _work(self, lane: int) -> None:
        while (batch := self._take(lane)) is not None:
            fault = batch.jobs[0].fault
            payloads = [job.payload for job in batch.jobs]
            results = [fault] if fault is not None else self._run_together(payloads)
            run_s = time.monotonic() - batch.started
            with self._condition:
                del self._running[lane]
                self._pace.learn(batch.cost, run_s)
                if batch.priority is Priority.URGENT:
                    waited = [(job.enqueued_at, job.cost) for job in batch.jobs]
                    self._lateness.ran(run_s, waited, time.monotonic())
                self._condition.notify()  # work that had to leave a lane free may run now
            self._deliver(batch, results, run_s * 1000)
            self._rest_after(batch)

    def _rest_after(self, batch: "_Batch[P, R]") -> None:
        rest_s = batch.started + self._gather_s - time.monotonic()
        if batch.priority is not Priority.URGENT or rest_s <= 0:
            return
        with self._condition:
            if any(job.at_once for job in self._pending):
                return
            self._hurry.clear()
        self._hurry.wait(rest_s)

    def _take(self, lane: int) -> "_Batch[P, R] | None":
        """Wait for work and take the most urgent job with others that may share its batch."""
        while (fresh := self._wait()) is not None:
            for job in fresh:  # without the lock: the event loop must not wait for a tokenizer
                self._measure(job)
            with self._condition:
                self._pending = [job for job in self._pending if not job.future.cancelled()]
                ready = sorted(
                    (job for job in self._pending if job.measured and self._may_run(job)),
                    key=lambda job: job.order,
                )
                jobs = self._choose(ready)
                chosen = set(map(id, jobs))
                self._pending = [job for job in self._pending if id(job) not in chosen]
                self._metrics.waiting(len(self._pending))
                if jobs:
                    batch = self._running[lane] = _Batch(jobs)
                    return batch
        return None

    def _wait(self) -> list[_Job[P, R]] | None:
        """Wait for work; gives the jobs that have not been measured, None when closed."""
        with self._condition:
            while not any(self._may_run(job) for job in self._pending):
                if self._closed:
                    return None
                self._condition.wait()
            return [job for job in self._pending if not job.measured]

    def _may_run(self, job: _Job[P, R]) -> bool:
        """URGENT work always; other work leaves one lane free for it."""
        if job.priority is Priority.URGENT or self._lanes == 1:
            return True
        others = sum(batch.priority is not Priority.URGENT for batch in self._running.values())
        return others < self._lanes - 1

    def _measure(self, job: _Job[P, R]) -> None:
        try:
            job.key = self._batch_key(job.payload)
            job.cost = self._batch_cost(job.payload)
        except Exception as error:  # noqa: BLE001 - a payload that cannot be measured fails alone
            job.key, job.fault = object(), error
        job.measured = True

    def _choose(self, ready: list[_Job[P, R]]) -> list[_Job[P, R]]:
        """The first, and those that may join it: of its key and class, while the batch is small."""
        if not ready:
            return []
        first, *others = ready
        batch, cost = [first], first.cost
        for job in others:
            if len(batch) >= self._max_batch:
                break
            if (job.key, job.priority) != (first.key, first.priority):
                continue
            together = cost + job.cost
            if self._pace.predict(together) > self._max_batch_s:
                continue
            batch.append(job)
            cost = together
        return batch

    def _run_together(self, payloads: list[P]) -> Sequence[R | Exception]:
        """Without the jobs: an error's traceback would be in a cycle with their futures."""
        try:
            results = self._run(payloads)
            if len(results) != len(payloads):
                raise RuntimeError(
                    f"{self.name} gave {len(results)} results for {len(payloads)} jobs"
                )
            return results
        except BaseException as error:  # noqa: BLE001 - whatever a model raises must reach its caller only
            if len(payloads) == 1:
                return [_deliverable(error)]
            log.warning("batch failed; running its items alone", model=self.name, error=repr(error))
            return [self._run_together([payload])[0] for payload in payloads]

    def _deliver(
        self, batch: "_Batch[P, R]", results: Sequence[R | Exception], run_ms: float
    ) -> None:
        self._metrics.ran(run_ms, len(batch.jobs))
        answers: dict[asyncio.AbstractEventLoop, list[_Answer[R]]] = {}
        for job, result in zip(batch.jobs, results, strict=True):
            queue_ms = (batch.started - job.enqueued_at) * 1000
            self._metrics.waited(job.priority.name.lower(), queue_ms)
            answer: Completed[R] | Exception
            if isinstance(result, Exception):
                self._metrics.failed()
                answer = _deliverable(result)
            else:
                answer = Completed(result, queue_ms, run_ms, len(batch.jobs))
            answers.setdefault(job.future.get_loop(), []).append((job.future, answer))
        for loop, of_loop in answers.items():
            # A loop that is gone has nobody left to answer.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(_resolve, of_loop)


_Answer = tuple["asyncio.Future[Completed[R]]", Completed[R] | Exception]


def _deliverable(error: BaseException) -> Exception:
    """What a future can carry: neither an interpreter's exit nor the end of an iteration."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    return RuntimeError(f"the model raised {error!r}")


def _resolve(answers: "list[_Answer[R]]") -> None:
    for future, answer in answers:
        if future.done():
            continue
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)
