"""A lock between processes, so that two downloads into one folder take turns."""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services.shared.models.errors import DownloadCode, DownloadError

_POLL_S = 0.1


@contextmanager
def exclusive(path: Path, wait_s: float) -> Iterator[None]:
    """Hold the lock file `path`; the kernel frees it when the holder dies.

    Raises:
        DownloadError: `busy` when another process holds it for longer than `wait_s` seconds.
    """
    deadline = time.monotonic() + wait_s
    with path.open("a") as file:
        while not _try(file.fileno()):
            if time.monotonic() >= deadline:
                raise DownloadError(
                    DownloadCode.BUSY,
                    f"another process is downloading into {path.parent} for over {wait_s:.0f} s; "
                    "wait for it, or end it",
                )
            time.sleep(_POLL_S)
        yield  # Closing the file releases the lock.


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
