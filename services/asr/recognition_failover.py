"""Recognition by several engines in order: when one fails, the next goes on with the segment."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from services.asr.commands import Decode, Listen
from services.asr.engines.base import Capabilities, DecodeRequest, EngineError, Floats, Hypothesis
from services.asr.engines.failover import Breaker
from services.asr.recognition import Answer, Recogniser, Recognition
from services.shared.runtime.scheduler import Completed, QueueFull, Scheduler, SchedulerClosed

log = structlog.get_logger(__name__)


class FailoverMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.failures = Counter(
            "voice_asr_engine_failures", "Answers that failed", ["engine"], registry=registry
        )
        self.answers = Counter(
            "voice_asr_engine_finals", "Segments answered", ["engine"], registry=registry
        )
        self.open = Gauge(
            "voice_asr_engine_open", "1: left alone after a failure", ["engine"], registry=registry
        )


@dataclass(frozen=True, slots=True, eq=False)
class Rung:
    """One engine of the ladder, with what all sessions know of its health."""

    recogniser: Recogniser
    breaker: Breaker
    metrics: FailoverMetrics

    @property
    def name(self) -> str:
        return self.recogniser.name

    def failed(self, error: BaseException) -> None:
        lasting = isinstance(error, EngineError) and error.lasting
        opened = self.breaker.failed(time.monotonic(), lasting=lasting)
        self.metrics.failures.labels(self.name).inc()
        self.metrics.open.labels(self.name).set(1)
        if opened:
            reason = str(error) or repr(error)
            log.warning(
                "engine failed", engine=self.name, reason=reason, retry_s=self.breaker.pause_s
            )

    def succeeded(self) -> None:
        self.metrics.answers.labels(self.name).inc()
        if self.breaker.succeeded():
            self.metrics.open.labels(self.name).set(0)
            log.info("engine is back", engine=self.name)


class FailoverRecognition:
    """One session on several engines.

    A segment stays with its engine until that fails; then with the next one. Which engine a
    segment begins with, the breakers say.

    Args:
        limit_s: an engine that has not answered by then is given up, unless it is the last one.
    """

    def __init__(self, ladder: Sequence[Rung], limit_s: float) -> None:
        self._ladder = ladder
        self._limit_s = limit_s
        self._sessions: list[Recognition] = [rung.recogniser.new_recognition() for rung in ladder]
        self._segment = -1
        self._rung = 0
        """Which engine has the current segment."""
        self._failed = [-1] * len(ladder)
        """The latest segment in which each has failed."""
        self._tasks: set[asyncio.Task[Completed[Hypothesis]]] = set()

    def hear(self, samples: Floats) -> None:
        for session in self._sessions:
            session.hear(samples)

    def listen(self, command: Listen) -> None:
        self._sessions[self._choose(command.start)].listen(command)

    async def room(self) -> None:
        await self._sessions[self._rung].room()

    def decode(self, command: Decode) -> Answer:
        index = self._choose(command.start)
        first = self._begin(index, command)  # now: it must hear exactly so much
        task = asyncio.create_task(self._climb(command, index, first))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # A task that is cancelled before it began runs nothing of its own.
        task.add_done_callback(lambda _: first.cancel())
        return task

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        for session in self._sessions:
            session.close()

    # Which engine.

    def _choose(self, segment: int) -> int:
        if segment > self._segment:
            self._segment = segment
            self._rung = self._first_healthy()
        while self._failed[self._rung] >= segment and self._rung < len(self._ladder) - 1:
            self._rung += 1
        return self._rung

    def _first_healthy(self) -> int:
        """The last one is not asked for its health: there is nobody else."""
        now = time.monotonic()
        healthy = (
            index for index, rung in enumerate(self._ladder[:-1]) if rung.breaker.admits(now)
        )
        return next(healthy, len(self._ladder) - 1)

    def _begin(self, index: int, command: Decode) -> Answer:
        try:
            return self._sessions[index].decode(command)
        except (QueueFull, SchedulerClosed):
            raise
        except Exception as error:  # noqa: BLE001 - whatever an engine raises, there is another one
            failed: Answer = asyncio.get_running_loop().create_future()
            failed.set_exception(error)
            return failed

    async def _climb(self, command: Decode, index: int, answer: Answer) -> Completed[Hypothesis]:
        while True:
            rung, last = self._ladder[index], index == len(self._ladder) - 1
            try:
                async with asyncio.timeout(None if last else self._limit_s):
                    done = await answer
                break
            except (QueueFull, SchedulerClosed):
                raise
            except Exception as error:
                rung.failed(error)
                self._failed[index] = max(self._failed[index], command.start)
                if last:
                    raise
            index += 1
            answer = self._begin(index, command)
        if command.request.final:
            rung.succeeded()
        return replace(done, value=replace(done.value, engine=rung.name))


class FailoverRecogniser:
    """Several recognisers in order, the first one preferred.

    Args:
        ladder: at least two.
        new_breaker: makes the breaker of each.
    """

    name = "failover"

    def __init__(
        self,
        ladder: Sequence[Recogniser],
        limit_s: float,
        registry: CollectorRegistry,
        new_breaker: Callable[[], Breaker] = Breaker,
    ) -> None:
        metrics = FailoverMetrics(registry)
        self._ladder = [Rung(recogniser, new_breaker(), metrics) for recogniser in ladder]
        self._limit_s = limit_s
        self._capabilities: Capabilities | None = None

    @property
    def capabilities(self) -> Capabilities:
        if self._capabilities is None:
            raise EngineError("the engines are not loaded yet")
        return self._capabilities

    @property
    def schedulers(self) -> tuple[Scheduler[Any, Any], ...]:
        return tuple(scheduler for rung in self._ladder for scheduler in rung.recogniser.schedulers)

    def busy_for(self) -> float:
        return max(rung.recogniser.busy_for() for rung in self._ladder)

    def load(self) -> None:
        for rung in self._ladder:
            rung.recogniser.load()
        self._capabilities = _common([rung.recogniser.capabilities for rung in self._ladder])

    async def start(self) -> None:
        for rung in self._ladder:
            await rung.recogniser.start()

    async def close(self) -> None:
        for rung in self._ladder:
            await rung.recogniser.close()

    def new_recognition(self) -> FailoverRecognition:
        return FailoverRecognition(self._ladder, self._limit_s)

    def transcribe(self, request: DecodeRequest) -> Answer:
        return asyncio.ensure_future(self._transcribe(request))

    async def _transcribe(self, request: DecodeRequest) -> Completed[Hypothesis]:
        now = time.monotonic()
        healthy = [rung for rung in self._ladder[:-1] if rung.breaker.admits(now)]
        for rung in healthy:
            try:
                return await rung.recogniser.transcribe(request)
            except (QueueFull, SchedulerClosed):
                raise
            except Exception as error:  # noqa: BLE001 - whatever an engine raises, there is another one
                rung.failed(error)
        return await self._ladder[-1].recogniser.transcribe(request)


def _common(each: Sequence[Capabilities]) -> Capabilities:
    """What all of them can.

    Raises:
        EngineError: they have no language in common.
    """
    languages = tuple(
        language
        for language in each[0].languages
        if all(language in other.languages for other in each)
    )
    if not languages:
        told = "; ".join(f"{one.model}: {', '.join(one.languages)}" for one in each)
        raise EngineError(f"engine.failover: the engines share no language ({told})", lasting=True)
    return Capabilities(
        model=each[0].model,
        languages=languages,
        max_seconds=min(one.max_seconds for one in each),
        word_timestamps=all(one.word_timestamps for one in each),
        max_batch=1,
        streaming=any(one.streaming for one in each),
    )
