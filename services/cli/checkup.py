"""The examinations behind `voice doctor`, one function each."""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import httpx

from services.asr.engines.cublas import MISSING, load_cublas
from services.cli.processes import port_is_free
from services.shared.models.store import ModelStatus, ModelStore

_PORTS = {"asr": 8001, "tts": 8002}
_MEMORY_GB = 2.0
"""Both services with the embedded models, and room."""
_DISK_GB = 1.0


class State(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    what: str
    state: State
    found: str
    remedy: str | None = None


def examine() -> list[Finding]:
    """Every check, in the order in which a person would mend things."""
    store = ModelStore()
    checks = (_python(), _cpu(), _memory(), _gpu(), _disk(store.root), _packages())
    return [finding for check in (*checks, _models(store), _ports()) for finding in check]


def _python() -> Iterator[Finding]:
    version = platform.python_version()
    good = (3, 11) <= sys.version_info[:2] <= (3, 13)
    yield Finding(
        "Python",
        State.OK if good else State.FAIL,
        f"{version} at {sys.executable}",
        None if good else "install Python 3.11 to 3.13, e.g. `uv python install 3.12`",
    )


def _cpu() -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0))
    features = _cpu_flags() & {"avx", "avx2", "avx512f", "avx512_vnni", "avx_vnni", "asimddp"}
    slow = platform.machine() in ("x86_64", "AMD64") and "avx2" not in features
    yield Finding(
        "CPU",
        State.WARN if slow or cores < 2 else State.OK,
        f"{cores} cores, {platform.machine()}, {', '.join(sorted(features)) or 'no SIMD known'}",
        "without AVX2, or with one core, expect late answers" if slow or cores < 2 else None,
    )


def _cpu_flags() -> set[str]:
    try:
        info = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return set()
    lines = [line for line in info.splitlines() if line.startswith(("flags", "Features"))]
    return set(lines[0].split(":", 1)[1].split()) if lines else set()


def _memory() -> Iterator[Finding]:
    import psutil

    memory = psutil.virtual_memory()
    free_gb = memory.available / 1e9
    yield Finding(
        "memory",
        State.OK if free_gb >= _MEMORY_GB else State.WARN,
        f"{free_gb:.1f} of {memory.total / 1e9:.1f} GB available",
        None if free_gb >= _MEMORY_GB else f"both services want about {_MEMORY_GB:.0f} GB",
    )


def _gpu() -> Iterator[Finding]:
    name = _nvidia_name()
    if name is None:
        yield Finding("GPU", State.OK, "none; the embedded models need none")
        return
    usable, remedy = _cuda_devices(), None
    if not usable:
        remedy = "CTranslate2 sees no CUDA device: it needs a driver for CUDA 12"
    elif not load_cublas():
        usable, remedy = 0, MISSING
    yield Finding(
        "GPU",
        State.WARN if remedy else State.OK,
        f"{name}; usable by recognition: {usable}",
        remedy,
    )


def _nvidia_name() -> str | None:
    command = shutil.which("nvidia-smi")
    if command is None:
        return None
    query = [command, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip().replace("\n", "; ") or None


def _cuda_devices() -> int:
    if importlib.util.find_spec("ctranslate2") is None:
        return 0
    ctranslate2 = importlib.import_module("ctranslate2")
    return int(ctranslate2.get_cuda_device_count())


def _disk(root: Path) -> Iterator[Finding]:
    existing = next(path for path in (root, *root.parents) if path.exists())
    free_gb = shutil.disk_usage(existing).free / 1e9
    enough, writable = free_gb >= _DISK_GB, os.access(existing, os.W_OK)
    remedy = None
    if not writable:
        remedy = f"{existing} is not writable; set VOICE_MODELS_DIR to a folder that is"
    elif not enough:
        remedy = f"free {_DISK_GB:.0f} GB, or set VOICE_MODELS_DIR to another disk"
    yield Finding(
        "disk",
        State.OK if enough and writable else State.FAIL,
        f"{free_gb:.0f} GB free for {root}",
        remedy,
    )


def _packages() -> Iterator[Finding]:
    groups = {
        "asr": ("faster-whisper", "ctranslate2", "onnxruntime"),
        "tts": ("onnxruntime",),
        "piper": ("piper-tts", "onnx"),
    }
    for group, packages in groups.items():
        versions = {name: _version(name) for name in packages}
        missing = [name for name, version in versions.items() if version is None]
        yield Finding(
            f"packages of {group}",
            State.WARN if missing else State.OK,
            ", ".join(f"{name} {version or 'missing'}" for name, version in versions.items()),
            f"to use it: uv sync --group {group}" if missing else None,
        )


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _models(store: ModelStore) -> Iterator[Finding]:
    for model in store.catalogue.default_ids:
        status = store.status(model)
        present = status is ModelStatus.PRESENT
        yield Finding(
            f"model {model}",
            State.OK if present else State.FAIL,
            status,
            None if present else f"uv run voice models download {model}",
        )


def _ports() -> Iterator[Finding]:
    for name, port in _PORTS.items():
        what = f"port {port} ({name})"
        if port_is_free(port):
            yield Finding(what, State.OK, "free")
            continue
        phase = _health(port)
        if phase is not None:
            yield Finding(what, State.OK, f"a service of ours listens: {phase}")
        else:
            remedy = f"stop what listens there, or set {name.upper()}__SERVER__PORT"
            yield Finding(what, State.WARN, "taken by something else", remedy)


def _health(port: int) -> str | None:
    """The phase that a service of ours tells on this port; None when it is none."""
    try:
        answer = httpx.get(f"http://127.0.0.1:{port}/health/ready", timeout=2.0, trust_env=False)
        phase = answer.json()["phase"]
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return None
    return str(phase)
