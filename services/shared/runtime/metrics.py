"""Prometheus metrics that both services have. Every service owns its registry."""

import asyncio
import contextlib

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

LATENCY_S = (0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.8, 1.2, 2, 3, 5, 10, 30)


class SchedulerMetrics:
    """What a model's owner tells: queue length, wait, run time, batch size, refusals, failures."""

    def __init__(self, model: str, registry: CollectorRegistry) -> None:
        prefix = f"voice_{model}"
        self._waiting = Gauge(f"{prefix}_queue_length", "Jobs waiting", registry=registry)
        self._queue = Histogram(
            f"{prefix}_queue_seconds", "Wait", ["priority"], buckets=LATENCY_S, registry=registry
        )
        self._run = Histogram(
            f"{prefix}_run_seconds", "Time of a batch", buckets=LATENCY_S, registry=registry
        )
        self._batch = Histogram(
            f"{prefix}_batch_size",
            "Jobs in a batch",
            buckets=(1, 2, 4, 8, 16, 32),
            registry=registry,
        )
        self._queue_of: dict[str, Histogram] = {}
        """By priority: looking a label up costs more than counting."""
        self._refused = Counter(f"{prefix}_refused", "Jobs refused: queue full", registry=registry)
        self._failed = Counter(f"{prefix}_failed", "Jobs that raised", registry=registry)

    def waiting(self, count: int) -> None:
        self._waiting.set(count)

    def waited(self, priority: str, queue_ms: float) -> None:
        """One job, before it was run."""
        queue = self._queue_of.get(priority)
        if queue is None:
            queue = self._queue_of[priority] = self._queue.labels(priority)
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
    """Sessions, errors and the lag of the event loop."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.sessions = Gauge("voice_sessions", "Live sessions", registry=registry)
        self.sessions_total = Counter("voice_sessions_opened", "Sessions opened", registry=registry)
        self.refused = Counter(
            "voice_sessions_refused", "Connections refused", ["reason"], registry=registry
        )
        self.errors = Counter("voice_errors", "Errors told to clients", ["code"], registry=registry)
        self.loop_lag = Histogram(
            "voice_event_loop_lag_seconds",
            "How late the event loop wakes",
            buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1),
            registry=registry,
        )

    async def watch_loop(self, interval: float = 0.1) -> None:
        """Measure the loop's lag for ever; run as a task of the service's lifespan."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(asyncio.CancelledError):
            while True:
                due = loop.time() + interval
                await asyncio.sleep(interval)
                self.loop_lag.observe(max(0.0, loop.time() - due))
