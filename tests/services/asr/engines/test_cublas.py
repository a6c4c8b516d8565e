"""That CTranslate2 will find cuBLAS; a library of its name stands in for its 850 MB."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[4]
FINDS = """
import ctypes
from services.asr.engines.cublas import load_cublas
assert load_cublas() is {found}
if {found}:
    assert ctypes.CDLL("libcublas.so.12").stands_in() == 42  # as CTranslate2 asks for it
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it is called otherwise there")


def python(code: str, *paths: Path) -> "subprocess.CompletedProcess[str]":
    """In a process of its own: what is loaded stays loaded."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (PROJECT, *paths)))}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )


def test_that_of_the_environment_is_found_by_its_name(tmp_path: Path) -> None:
    if (compiler := shutil.which("cc")) is None:
        pytest.skip("a C compiler is needed")
    library = tmp_path / "nvidia/cublas/lib/libcublas.so.12"
    library.parent.mkdir(parents=True)
    (source := tmp_path / "library.c").write_text("int stands_in(void) { return 42; }\n")
    named = ["-shared", "-fPIC", f"-Wl,-soname,{library.name}", "-o", str(library), str(source)]
    subprocess.run([compiler, *named], check=True)
    done = python(FINDS.format(found=True), tmp_path)
    assert done.returncode == 0, done.stderr


def test_without_any_that_is_told(tmp_path: Path) -> None:
    if python("import ctypes; ctypes.CDLL('libcublas.so.12')").returncode == 0:
        pytest.skip("this system has one")
    (tmp_path / "nvidia/cuda_nvrtc").mkdir(parents=True)
    done = python(FINDS.format(found=False), tmp_path)
    assert done.returncode == 0, done.stderr
