"""What the service and the machine are busy with during a level."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import psutil

from services.bench.results import ServiceLoad

_EVERY_S = 0.5
_LAG = "voice_event_loop_lag_seconds_bucket"

Buckets = dict[float, float]
"""Upper bound in seconds → observations up to it, as Prometheus counts them."""


class LoadMeter:
    """Samples processor time and memory; `result` is complete when :meth:`measuring` ends."""

    def __init__(self, http_url: str, pid: int | None) -> None:
        self._http_url = http_url
        self._service = psutil.Process(pid) if pid is not None else None
        self._self = psutil.Process()
        self._shares: list[float] = []
        self._rss: list[int] = []
        self.memory: list[tuple[float, float]] = []
        """Resident megabytes over time: (seconds since the level began, MB)."""
        self.result: ServiceLoad | None = None

    @asynccontextmanager
    async def measuring(self) -> AsyncIterator[None]:
        lag_before = await loop_lag(self._http_url)
        began, before = time.monotonic(), self._cpu_s()
        sampler = asyncio.create_task(self._sample())
        try:
            yield
        finally:
            sampler.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sampler
        elapsed = time.monotonic() - began
        service, own, machine = (
            100 * (after - start) / elapsed
            for start, after in zip(before, self._cpu_s(), strict=True)
        )
        lag = quantile(difference(await loop_lag(self._http_url), lag_before), 0.99)
        known = self._service is not None
        self.result = ServiceLoad(
            cpu_percent=round(service, 1) if known else None,
            cpu_percent_max=round(max(self._shares), 1) if self._shares else None,
            rss_mb=round(sum(self._rss) / len(self._rss) / 1e6, 1) if self._rss else None,
            rss_mb_max=round(max(self._rss) / 1e6, 1) if self._rss else None,
            loop_lag_p99_ms=None if lag is None else round(lag * 1000, 2),
            generator_cpu_percent=round(own, 1),
            other_cpu_percent=round(max(0.0, machine - service - own), 1),
        )

    async def _sample(self) -> None:
        before, at = self._cpu_s()[0], time.monotonic()
        began = at
        while self._service is not None:
            await asyncio.sleep(_EVERY_S)
            now, cpu = time.monotonic(), self._cpu_s()[0]
            self._shares.append(100 * (cpu - before) / (now - at))
            self._rss.append(sum(each.memory_info().rss for each in self._family()))
            self.memory.append((now - began, self._rss[-1] / 1e6))
            before, at = cpu, now

    def _family(self) -> list[psutil.Process]:
        if self._service is None or not self._service.is_running():
            return []
        return [self._service, *self._service.children(recursive=True)]

    def _cpu_s(self) -> tuple[float, float, float]:
        """Processor seconds so far of the service, of this process, and of the machine."""
        service = sum(_busy(each.cpu_times()) for each in self._family())
        whole = psutil.cpu_times()
        machine = sum(whole) - whole.idle - getattr(whole, "iowait", 0.0)
        # Linux counts guests within user time, once more.
        machine -= getattr(whole, "guest", 0.0) + getattr(whole, "guest_nice", 0.0)
        return service, _busy(self._self.cpu_times()), machine


async def loop_lag(http_url: str) -> Buckets:
    """The service's event-loop lag so far; empty when it does not tell."""
    from prometheus_client.parser import text_string_to_metric_families

    try:
        async with httpx.AsyncClient(timeout=10.0, trust_env=False) as client:
            answer = await client.get(f"{http_url}/metrics")
    except httpx.HTTPError:
        return {}
    if answer.status_code != 200:
        return {}
    return {
        float(sample.labels["le"]): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
        if sample.name == _LAG
    }


def difference(after: Buckets, before: Buckets) -> Buckets:
    """What was observed in between."""
    return {bound: count - before.get(bound, 0.0) for bound, count in after.items()}


def quantile(buckets: Buckets, share: float) -> float | None:
    """Seconds below which `share` of the observations lie, linear within a bucket.

    In the open last bucket that is its lower bound. None without observations.
    """
    bounds = sorted(buckets)
    if not bounds or buckets[bounds[-1]] <= 0:
        return None
    wanted = share * buckets[bounds[-1]]
    lower, below = 0.0, 0.0
    for bound in bounds:
        count = buckets[bound]
        if count >= wanted:
            if bound == float("inf") or count == below:
                return lower
            return lower + (bound - lower) * (wanted - below) / (count - below)
        lower, below = bound, count
    return lower


def _busy(times: object) -> float:
    return float(getattr(times, "user", 0.0)) + float(getattr(times, "system", 0.0))


def machine_load() -> float:
    """Processes that wanted to run during the last minute, on average."""
    return round(os.getloadavg()[0], 2)
