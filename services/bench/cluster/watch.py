"""What a cluster's processes take, over time: processor, memory, descriptors, threads, queues."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import psutil

from services.bench.cluster.instances import Cluster, Instance
from services.bench.load import difference, quantile
from services.bench.tts_counters import Counters

LOOP_LAG = "voice_event_loop_lag_seconds"


def sessions_of(counters: Counters) -> int:
    """Live sessions of one instance."""
    return int(counters.totals.get("voice_sessions", 0))


def queued_of(counters: Counters) -> float:
    """Jobs that wait for any model of one instance."""
    return sum(v for name, v in counters.totals.items() if name.endswith("queue_length"))


@dataclass(frozen=True, slots=True)
class Sample:
    """One instance, or nginx, at one moment."""

    at_s: float
    rss_mb: float
    fds: int
    threads: int
    queued: float
    sessions: int
    tasks: int | None
    """Of asyncio, where the service tells."""
    late_s: float | None = None
    """How late finals are, where the service tells."""


@dataclass(slots=True)
class Usage:
    """Over a stretch of time."""

    seconds: float
    cpu_percent: dict[str, float]
    """Group of processes → share of one core: `asr`, `tts`, `nginx`, `callers`, `others`."""
    loop_lag_p99_ms: dict[str, float]
    """Instance → how late its event loop woke."""


@dataclass(slots=True)
class Watch:
    """Watches a cluster's processes; everything is empty when somebody else runs it."""

    cluster: Cluster
    series: dict[str, list[Sample]] = field(default_factory=dict)
    usage: Usage | None = None

    @asynccontextmanager
    async def measuring(self, every_s: float | None = None) -> AsyncIterator[None]:
        """`usage` is complete at the end; with `every_s`, samples are taken as well."""
        before, busy_before = await self._counters(), self._busy()
        began = time.monotonic()
        sampling = asyncio.create_task(self._sample_for_ever(began, every_s)) if every_s else None
        try:
            yield
        finally:
            if sampling is not None:
                sampling.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await sampling
            seconds = time.monotonic() - began
            busy = self._busy()
            shares = {
                name: round(100 * (busy[name] - busy_before.get(name, 0.0)) / seconds, 1)
                for name in busy
            }
            known = sum(share for name, share in shares.items() if name != "machine")
            shares["others"] = round(max(0.0, shares.pop("machine") - known), 1)
            after = await self._counters()
            self.usage = Usage(round(seconds, 1), shares, _lags(before, after))

    async def sample(self, at_s: float) -> None:
        """Look at every instance, and at nginx, once."""
        for instance in self.cluster.instances:
            counters = await instance.counters()
            self._note(str(instance), at_s, instance.pid, counters)
        if self.cluster.balancer is not None and self.cluster.balancer.pid is not None:
            self._note("nginx", at_s, self.cluster.balancer.pid, Counters())

    def _note(self, name: str, at_s: float, pid: int, counters: Counters) -> None:
        rss = fds = threads = 0
        for process in _family(pid):
            with contextlib.suppress(psutil.Error):
                rss += process.memory_info().rss
                fds += process.num_fds()
                threads += process.num_threads()
        tasks = counters.totals.get("voice_asyncio_tasks")
        sample = Sample(
            at_s=round(at_s, 1),
            rss_mb=rss / 1e6,
            fds=fds,
            threads=threads,
            queued=queued_of(counters),
            sessions=sessions_of(counters),
            tasks=None if tasks is None else int(tasks),
            late_s=counters.totals.get("voice_asr_late_seconds"),
        )
        self.series.setdefault(name, []).append(sample)

    async def _sample_for_ever(self, began: float, every_s: float) -> None:
        while True:
            await self.sample(time.monotonic() - began)
            await asyncio.sleep(every_s)

    async def _counters(self) -> dict[str, Counters]:
        found = await asyncio.gather(*(each.counters() for each in self.cluster.instances))
        return {str(each): one for each, one in zip(self.cluster.instances, found, strict=True)}

    def _busy(self) -> dict[str, float]:
        """Processor seconds so far."""
        groups: dict[str, list[int]] = {"asr": [], "tts": [], "nginx": []}
        for instance in self.cluster.instances:
            groups[instance.name].append(_pid_of(instance))
        if self.cluster.balancer is not None and self.cluster.balancer.pid is not None:
            groups["nginx"].append(self.cluster.balancer.pid)
        busy = {
            name: sum(_cpu_s(each) for pid in pids if pid for each in _family(pid))
            for name, pids in groups.items()
        }
        whole = psutil.cpu_times()
        # Linux counts guests within user time, once more.
        guests = getattr(whole, "guest", 0.0) + getattr(whole, "guest_nice", 0.0)
        machine = sum(whole) - whole.idle - getattr(whole, "iowait", 0.0) - guests
        return {**busy, "callers": _cpu_s(psutil.Process()), "machine": machine}


def _pid_of(instance: Instance) -> int:
    try:
        return instance.pid
    except AssertionError:
        return 0


def _family(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def _cpu_s(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)


def _lags(before: dict[str, Counters], after: dict[str, Counters]) -> dict[str, float]:
    lags = {}
    for name, counters in after.items():
        grown = difference(
            counters.buckets.get(LOOP_LAG, {}), before[name].buckets.get(LOOP_LAG, {})
        )
        if (lag := quantile(grown, 0.99)) is not None:
            lags[name] = round(lag * 1000, 1)
    return lags
