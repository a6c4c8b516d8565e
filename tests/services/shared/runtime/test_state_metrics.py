"""State, process and GPUs, looked up when somebody asks."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib.metadata import version
from types import ModuleType, SimpleNamespace

import httpx
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from services.shared.runtime import state_metrics
from services.shared.runtime.lifecycle import Phase
from services.shared.runtime.state_metrics import (
    GpuCollector,
    GpuMemory,
    ProcessTreeCollector,
    read_gpus,
)
from tests.services.serving import until
from tests.services.shared.runtime.conftest import Start


def test_readiness_is_told_as_health_tells_it(start_tiny: Start) -> None:
    live = start_tiny(max_sessions=7)
    assert live.metric("voice_ready") == 1
    assert live.metric("voice_sessions_max") == 7
    assert live.metric("voice_phase") == live.metric("voice_phase", phase="ready") == 1
    live.lifecycle.checks.append(lambda: "an engine is being restarted")
    assert live.metric("voice_ready") == 0
    assert live.metric("voice_phase", phase="ready") == 1
    live.lifecycle.checks.clear()
    live.lifecycle.phase = Phase.DRAINING
    assert live.metric("voice_ready") == 0
    assert live.metric("voice_phase", phase="draining") == 1


def test_a_model_that_hangs_is_seen_by_its_age(start_tiny: Start) -> None:
    live = start_tiny()
    live.lifecycle.owners.append(SimpleNamespace(name="asr", busy_for=lambda: 42.0))
    assert live.metric("voice_model_busy_seconds", model="asr") == 42


def test_the_build_is_named(start_tiny: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    live = start_tiny()

    def told() -> str:
        return httpx.get(f"{live.http}/metrics", trust_env=False).text

    monkeypatch.delenv("VOICE_RELEASE", raising=False)
    assert live.metric("voice_build_info") == 1
    assert f'version="{version("voice-services")}"' in told()
    monkeypatch.setenv("VOICE_RELEASE", "v1.2-3-gabcdef0")
    assert 'version="v1.2-3-gabcdef0"' in told()
    assert live.metric("voice_build_info") == 1, "one, not both"


def test_memory_of_engines_in_processes_of_their_own_is_counted() -> None:
    registry = CollectorRegistry()
    registry.register(ProcessTreeCollector())

    def value(name: str) -> float:
        return registry.get_sample_value(name) or 0.0

    before = value("voice_child_processes")
    program = "import sys; sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE) as child:
        assert value("voice_child_processes") == before + 1
        until(lambda: value("voice_child_resident_memory_bytes") > 4e6)
        child.communicate(timeout=10)
    assert value("voice_child_processes") == before
    assert value("process_resident_memory_bytes") > 1e7
    assert value("process_open_fds") > 0


@pytest.fixture
def no_torch(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    state_metrics._nvml.cache_clear()
    yield
    state_metrics._nvml.cache_clear()


@pytest.mark.usefixtures("no_torch")
def test_without_a_way_to_ask_nothing_is_told_of_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)  # not installed
    assert read_gpus() == []
    registry = CollectorRegistry()
    registry.register(GpuCollector())
    assert "voice_gpu_memory_bytes" in generate_latest(registry).decode()
    assert registry.get_sample_value("voice_gpu_memory_bytes", {"gpu": "0"}) is None


@pytest.mark.usefixtures("no_torch")
def test_a_library_without_a_driver_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    library = ModuleType("pynvml")

    def init() -> None:
        raise RuntimeError("Driver Not Loaded")

    vars(library)["nvmlInit"] = init
    monkeypatch.setitem(sys.modules, "pynvml", library)
    assert read_gpus() == []


def test_a_gpu_that_cannot_be_asked_hides_no_other_metric() -> None:
    def fail() -> list[GpuMemory]:
        raise RuntimeError("GPU is lost")

    registry = CollectorRegistry()
    registry.register(GpuCollector(fail))
    assert registry.get_sample_value("voice_gpu_memory_bytes", {"gpu": "0"}) is None
    registry = CollectorRegistry()
    registry.register(GpuCollector(lambda: [GpuMemory("1", 3 << 30, 8 << 30)]))
    assert registry.get_sample_value("voice_gpu_memory_used_bytes", {"gpu": "1"}) == 3 << 30
    assert registry.get_sample_value("voice_gpu_memory_bytes", {"gpu": "1"}) == 8 << 30


def test_a_scrape_does_not_run_on_the_event_loop(start_tiny: Start) -> None:
    live = start_tiny()
    threads: set[str] = set()

    class Witness:
        def collect(self) -> Iterator[object]:
            threads.add(threading.current_thread().name)
            yield from ()

    live.lifecycle.metrics.registry.register(Witness())  # type: ignore[arg-type]
    assert httpx.get(f"{live.http}/metrics", trust_env=False).status_code == 200
    assert threads
    assert "service" not in threads, "that of the event loop"
