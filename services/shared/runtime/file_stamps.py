"""Whether files have changed since somebody looked."""

from collections.abc import Iterable
from pathlib import Path

Stamp = tuple[tuple[int, int, int], ...]


def stamp_of(files: Iterable[Path]) -> Stamp:
    """Changes with the files: also when one is replaced by another of the same size. Blocks."""
    stamps: list[tuple[int, int, int]] = []
    for file in files:
        try:
            state = file.stat()
        except OSError:
            stamps.append((0, 0, 0))
        else:
            stamps.append((state.st_mtime_ns, state.st_size, state.st_ino))
    return tuple(stamps)
