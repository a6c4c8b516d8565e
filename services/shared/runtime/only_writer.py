"""One writer at a time for a file that several processes change."""

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_WAIT_S = 10.0
_POLL_S = 0.02


@contextmanager
def only_writer(folder: Path, wait_s: float = _WAIT_S) -> Iterator[None]:
    """Nobody else who asks for it changes files of this folder, which is made, meanwhile. Blocks.

    Raises:
        TimeoutError: somebody else is at it for too long. OSError: of the file system.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        until = time.monotonic() + wait_s
        while not _is_ours(descriptor):
            if time.monotonic() >= until:
                raise TimeoutError(errno.ETIMEDOUT, "another process is changing it", str(folder))
            time.sleep(_POLL_S)
        yield
    finally:
        os.close(descriptor)


def _is_ours(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
