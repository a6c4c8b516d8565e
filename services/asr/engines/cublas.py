"""cuBLAS for CTranslate2, which asks the system's loader for it by its name; no more of CUDA."""

import ctypes
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

_NAME = "libcublas.so.12"
MISSING = (
    "recognition on a GPU needs cuBLAS 12. Install it with: uv sync --group cuda (installed "
    "services: deploy/install.sh install --groups …,cuda), or NVIDIA's package for your system"
)


def load_cublas() -> bool:
    """Load that of the dependency group `cuda`, or else the system's; False: there is neither.

    What is loaded once is found by its name.
    """
    if sys.platform != "linux":  # the group has none for others, and it is called otherwise there
        return True
    return any(_loads(library) for library in (*_of_the_environment(), _NAME))


def _of_the_environment() -> Iterator[str]:
    nvidia = importlib.util.find_spec("nvidia")  # a folder that several packages share
    for folder in (nvidia and nvidia.submodule_search_locations) or ():
        yield str(Path(folder) / "cublas" / "lib" / _NAME)


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
