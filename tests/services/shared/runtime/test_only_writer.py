"""One process after the other changes a folder's files."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from services.shared.runtime.only_writer import only_writer

HOLDING = """
import sys
from pathlib import Path
from services.shared.runtime.only_writer import only_writer
with only_writer(Path(sys.argv[1])):
    print("holding", flush=True)
    sys.stdin.read()
"""


def test_another_process_waits_and_a_dead_one_holds_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    command = [sys.executable, "-c", HOLDING, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline() == b"holding\n"
        with pytest.raises(TimeoutError, match="another process"), only_writer(folder, wait_s=0.1):
            pass
        os.kill(other.pid, signal.SIGKILL)
        with only_writer(folder, wait_s=10):
            pass
