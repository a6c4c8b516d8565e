"""Rows that the database did not take, in files, in order. Blocks: for a thread.

Files of one writer: `000000000001.jsonl` and so on, a row a line, the oldest first. A file is
deleted when all of it is in the database; after a crash some rows are written twice, which is no
harm.
"""

import json
import threading
from collections.abc import Sequence
from pathlib import Path

from examples.voice_agent.store.records import Row

_SEGMENT_BYTES = 1_000_000


class SpoolFull(Exception):
    """No more rows fit."""


class Spool:
    """One thread at a time appends; nobody else appends while the oldest is read or forgotten."""

    def __init__(
        self, folder: Path, max_bytes: int, *, segment_bytes: int = _SEGMENT_BYTES
    ) -> None:
        self.broken_lines = 0
        """That could not be read, because a write was cut short."""
        self._folder = folder
        self._max_bytes = max_bytes
        self._segment_bytes = segment_bytes
        self._segments: list[Path] = []
        self._sizes: dict[Path, int] = {}
        self._open: Path | None = None
        """The segment that may grow."""
        self._next = 1
        self._appending = threading.Lock()
        """A cancelled writer leaves its thread behind, and the rest is put by in another one."""

    def look(self) -> None:
        """Find what an earlier process left."""
        if self._folder.is_dir():
            self._segments = sorted(self._folder.glob("[0-9]*.jsonl"))
            self._sizes = {path: path.stat().st_size for path in self._segments}
        if self._segments:
            self._next = int(self._segments[-1].stem) + 1

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(self._sizes.values())

    def __bool__(self) -> bool:
        return bool(self._segments)

    def append(self, rows: Sequence[Row]) -> None:
        """Raises SpoolFull or OSError; then none of them is kept."""
        lines = [
            json.dumps([row.table, row.values, row.update], ensure_ascii=False) for row in rows
        ]
        data = "".join(f"{line}\n" for line in lines).encode()
        if self.size + len(data) > self._max_bytes:
            raise SpoolFull(f"the spool holds {self.size} of {self._max_bytes} bytes")
        with self._appending:
            path = self._segment()
            with path.open("r+b" if path.exists() else "wb") as file:
                # What a full disk cut short before is overwritten.
                file.seek(self._sizes[path])
                file.write(data)
                file.truncate()
            self._sizes[path] += len(data)

    def oldest(self) -> list[Row]:
        """All rows of the oldest segment, which grows no more."""
        path = self._segments[0]
        if path == self._open:
            self._open = None
        rows = [self._row(line) for line in path.read_bytes().splitlines()]
        return [row for row in rows if row is not None]

    def forget_oldest(self) -> None:
        """They are in the database."""
        path = self._segments.pop(0)
        self._sizes.pop(path)
        path.unlink(missing_ok=True)

    def _segment(self) -> Path:
        if self._open is None or self._sizes[self._open] >= self._segment_bytes:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._open = self._folder / f"{self._next:012}.jsonl"
            self._next += 1
            self._segments.append(self._open)
            self._sizes[self._open] = 0
        return self._open

    def _row(self, line: bytes) -> Row | None:
        try:
            table, values, update = json.loads(line)
            return Row(str(table), dict(values), bool(update))
        except (ValueError, TypeError):
            self.broken_lines += 1
            return None
