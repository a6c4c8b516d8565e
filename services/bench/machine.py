"""The machine that figures came from: without it they mean nothing."""

import importlib.metadata
import platform
import re
from pathlib import Path
from typing import Any

import psutil

from services.bench.load import machine_load

_PACKAGES = ("voice-services", "faster-whisper", "ctranslate2", "onnxruntime", "numpy", "uvicorn")


def describe_machine() -> dict[str, Any]:
    """Processor, cores, memory, systems and versions, and how busy it is already."""
    return {
        "cpu": _cpu_model(),
        "cores": psutil.cpu_count(logical=True),
        "physical_cores": psutil.cpu_count(logical=False),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "load_before": machine_load(),
    }


def _cpu_model() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    except OSError:
        found = None
    return found.group(1) if found else platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
