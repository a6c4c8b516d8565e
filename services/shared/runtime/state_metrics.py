"""Metrics that are looked up when somebody asks: state of the service, its process, its GPUs.

They read files and libraries that may block, so registries that hold them are collected in a thread
(`edge.py`).
"""

import contextlib
import importlib
import os
import platform
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol

import psutil
from prometheus_client import GCCollector, ProcessCollector
from prometheus_client.metrics_core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry


class Owner(Protocol):
    """A scheduler."""

    name: str

    def busy_for(self) -> float: ...


class Observed(Protocol):
    """What is told of a :class:`services.shared.runtime.lifecycle.Lifecycle`."""

    @property
    def phase(self) -> str: ...
    @property
    def owners(self) -> Sequence[Owner]: ...
    @property
    def max_sessions(self) -> int: ...
    def troubles(self) -> list[str]: ...


class StateCollector(Collector):
    """Whether a service is ready, and what its models are at."""

    def __init__(self, observed: Observed, phases: Sequence[str]) -> None:
        self._observed = observed
        self._phases = phases

    def collect(self) -> Iterator[Metric]:
        build = InfoMetricFamily("voice_build", "What is running")
        build.add_metric([], {"version": service_version(), "python": platform.python_version()})
        yield build
        state = self._observed
        phase = GaugeMetricFamily("voice_phase", "1 for the phase it is in", labels=["phase"])
        for each in self._phases:
            phase.add_metric([each], float(state.phase == each))
        yield phase
        ready = state.phase == "ready" and not state.troubles()
        yield GaugeMetricFamily("voice_ready", "1: takes new sessions", value=float(ready))
        yield GaugeMetricFamily(
            "voice_sessions_max", "Sessions that are let in", value=state.max_sessions
        )
        busy = GaugeMetricFamily(
            "voice_model_busy_seconds", "Age of the oldest batch that runs", labels=["model"]
        )
        for owner in state.owners:
            busy.add_metric([owner.name], owner.busy_for())
        yield busy


class ProcessTreeCollector(Collector):
    """prometheus_client's figures of this process and its garbage collector, and its children's.

    Children are engines in processes of their own; their memory is the service's, too.
    """

    def __init__(self) -> None:
        self._inner: tuple[Collector, ...] = ()

    def collect(self) -> Iterator[Metric]:
        if not self._inner:  # making them reads files, which an event loop must not
            own = CollectorRegistry()
            self._inner = (ProcessCollector(registry=None), GCCollector(registry=own))
        for collector in self._inner:
            yield from collector.collect()
        count, resident = _children()
        yield GaugeMetricFamily("voice_child_processes", "Processes of engines", value=count)
        yield GaugeMetricFamily(
            "voice_child_resident_memory_bytes", "Memory of those", value=resident
        )


def _children() -> tuple[int, int]:
    """Number, bytes."""
    count = resident = 0
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # gone meanwhile
            resident += child.memory_info().rss
            count += 1
    return count, resident


RELEASE = "VOICE_RELEASE"
"""The variable in which `deploy/run` names the release that it starts."""


def service_version(environ: Mapping[str, str] = os.environ) -> str:
    """The installed release, which is newer with each commit; without one the package's version."""
    return environ.get(RELEASE) or _package_version()


@cache
def _package_version() -> str:
    try:
        return version("voice-services")
    except PackageNotFoundError:
        return "unknown"


@dataclass(frozen=True, slots=True)
class GpuMemory:
    gpu: str
    """Its index."""
    used: int
    total: int
    """Bytes, of everybody who uses it."""


class GpuCollector(Collector):
    """Memory of the machine's NVIDIA GPUs; tells nothing where nobody can say."""

    def __init__(self, read: Callable[[], Iterable[GpuMemory]] | None = None) -> None:
        self._read = read or read_gpus

    def collect(self) -> Iterator[Metric]:
        used = GaugeMetricFamily(
            "voice_gpu_memory_used_bytes", "GPU memory in use, by everybody", labels=["gpu"]
        )
        total = GaugeMetricFamily("voice_gpu_memory_bytes", "GPU memory", labels=["gpu"])
        with contextlib.suppress(Exception):  # a driver that fails must not hide the other metrics
            for each in self._read():
                used.add_metric([each.gpu], each.used)
                total.add_metric([each.gpu], each.total)
        yield used
        yield total


def read_gpus() -> list[GpuMemory]:
    """By NVML when nvidia-ml-py is installed, else by torch when this process uses it already."""
    nvml = _nvml()
    if nvml is not None:
        return _read_nvml(nvml)
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():  # asking would make a CUDA context
        return []
    read = []
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        read.append(GpuMemory(str(index), total - free, total))
    return read


@cache
def _nvml() -> Any:
    """The library, ready; None without it, or without a driver."""
    try:
        nvml = importlib.import_module("pynvml")
        nvml.nvmlInit()
    except Exception:  # noqa: BLE001 - it raises its own kinds
        return None
    return nvml


def _read_nvml(nvml: Any) -> list[GpuMemory]:
    read = []
    for index in range(nvml.nvmlDeviceGetCount()):
        memory = nvml.nvmlDeviceGetMemoryInfo(nvml.nvmlDeviceGetHandleByIndex(index))
        read.append(GpuMemory(str(index), int(memory.used), int(memory.total)))
    return read


def watch_state(registry: CollectorRegistry, observed: Observed, phases: Sequence[str]) -> None:
    """Let a service's registry tell all of this."""
    registry.register(StateCollector(observed, phases))
    registry.register(ProcessTreeCollector())
    registry.register(GpuCollector())
