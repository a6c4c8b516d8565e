"""Prometheus metrics that both services have. Every service owns its registry."""

import asyncio
import contextlib
import math

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from services.shared.protocol.base import ErrorCode

LATENCY_S = (0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.8, 1.2, 2, 3, 5, 10, 30)
BATCH_SIZE = (1, 2, 4, 8, 16, 32)
_LAG_S = (0.001, 0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.25, 0.5, 1)
_COUNT_S = 1.0
_WATCHED_REFUSALS = (ErrorCode.OVERLOADED, ErrorCode.SHUTTING_DOWN)
_WATCHED_ERRORS = (
    ErrorCode.ENGINE_FAILED,
    ErrorCode.INTERNAL,
    ErrorCode.SLOW_CLIENT,
    ErrorCode.UNAUTHORIZED,
)
"""There from the start, so that a rate also sees the first one."""


class ModelMetrics:
    """What the owners of models tell, by model: one family each for all schedulers of a service."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.waiting = Gauge(
            "voice_model_queue_length", "Jobs waiting", ["model"], registry=registry
        )
        self.queue_s = Histogram(
            "voice_model_queue_seconds",
            "How long a job waited",
            ["model", "priority"],
            buckets=LATENCY_S,
            registry=registry,
        )
        self.run_s = Histogram(
            "voice_model_run_seconds",
            "How long a batch ran",
            ["model"],
            buckets=LATENCY_S,
            registry=registry,
        )
        self.batch = Histogram(
            "voice_model_batch_size",
            "Jobs in a batch",
            ["model"],
            buckets=BATCH_SIZE,
            registry=registry,
        )
        self.refused = Counter(
            "voice_model_refused", "Jobs refused: queue full", ["model"], registry=registry
        )
        self.failed = Counter(
            "voice_model_failed", "Jobs that raised", ["model"], registry=registry
        )

    def of(self, model: str) -> "SchedulerMetrics":
        return SchedulerMetrics(self, model)


class SchedulerMetrics:
    """One model's part, with its label looked up once."""

    def __init__(self, families: ModelMetrics, model: str) -> None:
        self._waiting = families.waiting.labels(model)
        self._run = families.run_s.labels(model)
        self._batch = families.batch.labels(model)
        self._refused = families.refused.labels(model)
        self._failed = families.failed.labels(model)
        self._model = model
        self._queue = families.queue_s
        self._queue_of: dict[str, Histogram] = {}
        """By priority: looking a label up costs more than counting."""

    def waiting(self, count: int) -> None:
        self._waiting.set(count)

    def waited(self, priority: str, queue_ms: float) -> None:
        """One job, before it was run."""
        queue = self._queue_of.get(priority)
        if queue is None:
            queue = self._queue_of[priority] = self._queue.labels(self._model, priority)
        queue.observe(queue_ms / 1000)

    def ran(self, run_ms: float, batch_size: int) -> None:
        """One batch."""
        self._run.observe(run_ms / 1000)
        self._batch.observe(batch_size)

    def refused(self) -> None:
        self._refused.inc()

    def failed(self) -> None:
        self._failed.inc()


class ServiceMetrics:
    """Sessions, requests, errors and the lag of the event loop."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.sessions = Gauge("voice_sessions", "Live sessions and requests", registry=registry)
        self.sessions_total = Counter(
            "voice_sessions_opened", "Sessions and requests let in", registry=registry
        )
        self.refused = Counter(
            "voice_sessions_refused",
            "Sessions and requests refused for want of room",
            ["reason"],
            registry=registry,
        )
        for reason in _WATCHED_REFUSALS:
            self.refused.labels(reason.value)
        self.errors = Counter("voice_errors", "Errors told to clients", ["code"], registry=registry)
        for code in _WATCHED_ERRORS:
            self.errors.labels(code.value)
        self.requests = Counter(
            "voice_http_requests",
            "HTTP requests answered, WebSockets not among them",
            ["method", "route", "status"],
            registry=registry,
        )
        self.request_s = Histogram(
            "voice_http_request_seconds",
            "From a request to the end of its answer",
            ["route"],
            buckets=LATENCY_S,
            registry=registry,
        )
        self.loop_lag = Histogram(
            "voice_event_loop_lag_seconds",
            "How late the event loop wakes",
            buckets=_LAG_S,
            registry=registry,
        )
        self.tasks = Gauge("voice_asyncio_tasks", "Tasks of the event loop", registry=registry)

    async def watch_loop(self, interval: float = 0.1) -> None:
        """Measure the loop's lag for ever; run as a task of the service's lifespan."""
        loop = asyncio.get_running_loop()
        counted_at = -math.inf
        with contextlib.suppress(asyncio.CancelledError):
            while True:
                if loop.time() - counted_at >= _COUNT_S:  # each is looked at to count them
                    self.tasks.set(len(asyncio.all_tasks(loop)))
                    counted_at = loop.time()
                due = loop.time() + interval
                await asyncio.sleep(interval)
                self.loop_lag.observe(max(0.0, loop.time() - due))
