"""Phrases that were spoken before: in memory, and in files that survive a restart.

Both are bounded in bytes and forget what was not used for longest. Files hold what was prewarmed or
asked for twice: most answers of a language model are said once, and nobody wants those on a disk.
"""

import asyncio
import os
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import structlog

from services.tts.metrics import TtsMetrics
from services.tts.phrase import Phrase

log = structlog.get_logger(__name__)

_SUFFIX = ".phrase"
_LARGEST_PART = 8
"""A phrase over this part of the memory is not kept: it would drive out too many others."""
_MAX_WAITING = 32
"""Files waiting to be written; more are not worth it."""


class PhraseMemory:
    """Least recently used phrases go when there are more than `max_bytes`."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._phrases: OrderedDict[str, Phrase] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._phrases)

    def get(self, key: str) -> Phrase | None:
        phrase = self._phrases.get(key)
        if phrase is not None:
            self._phrases.move_to_end(key)
        return phrase

    def put(self, key: str, phrase: Phrase) -> None:
        if phrase.size * _LARGEST_PART > self._max_bytes:
            return
        if (old := self._phrases.pop(key, None)) is not None:
            self.bytes -= old.size
        self._phrases[key] = phrase
        self.bytes += phrase.size
        while self.bytes > self._max_bytes:
            _, oldest = self._phrases.popitem(last=False)
            self.bytes -= oldest.size

    def forget(self, beginning: str) -> None:
        """Drop the phrases whose keys begin so."""
        for key in [key for key in self._phrases if key.startswith(beginning)]:
            self.bytes -= self._phrases.pop(key).size


class PhraseFiles:
    """One file a phrase in a folder of their own. Blocks: for a thread; thread-safe.

    Files are written beside and renamed, and carry a checksum: one that is damaged is deleted.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._sizes: OrderedDict[str, int] = OrderedDict()
        self._lock = threading.Lock()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._sizes)

    def __contains__(self, key: str) -> bool:
        return key in self._sizes

    def scan(self) -> None:
        """Find what an earlier run left. Raises OSError when the folder cannot be used."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._lock:
            for unfinished in self._folder.glob("*.part"):
                unfinished.unlink(missing_ok=True)
            found = [(file.stat(), file.stem) for file in self._folder.glob(f"*{_SUFFIX}")]
            for stat, key in sorted(found, key=lambda each: each[0].st_mtime_ns):
                self._sizes[key] = stat.st_size
            self.bytes = sum(self._sizes.values())
            self._evict()

    def get(self, key: str) -> Phrase | None:
        """The phrase; None when it is not there or cannot be read."""
        path = self._path(key)
        try:
            phrase = Phrase.from_bytes(path.read_bytes())
            os.utime(path)
        except (OSError, ValueError, LookupError, TypeError) as error:
            log.warning("a cached phrase is dropped", file=path.name, reason=str(error))
            with self._lock:
                self._forget(key)
            return None
        with self._lock:
            if key in self._sizes:
                self._sizes.move_to_end(key)
        return phrase

    def put(self, key: str, phrase: Phrase) -> None:
        data = phrase.to_bytes()
        if len(data) > self._max_bytes:
            return
        path = self._path(key)
        part = path.with_suffix(".part")
        try:
            part.write_bytes(data)
            part.replace(path)
        except OSError as error:
            log.warning("a phrase could not be kept", file=path.name, reason=str(error))
            part.unlink(missing_ok=True)
            return
        with self._lock:
            self.bytes += len(data) - self._sizes.pop(key, 0)
            self._sizes[key] = len(data)
            self._evict()

    def forget(self, beginning: str) -> None:
        """Delete the phrases whose keys begin so."""
        with self._lock:
            for key in [key for key in self._sizes if key.startswith(beginning)]:
                self._forget(key)

    def _evict(self) -> None:
        while self.bytes > self._max_bytes:
            self._forget(next(iter(self._sizes)))

    def _forget(self, key: str) -> None:
        self.bytes -= self._sizes.pop(key, 0)
        self._path(key).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}{_SUFFIX}"


class PhraseCache:
    """Memory before files; files are read and written by a thread of their own.

    Args:
        memory_bytes: 0 keeps nothing.
        folder: None: no files.
    """

    def __init__(
        self, memory_bytes: int, folder: Path | None, disk_bytes: int, metrics: TtsMetrics
    ) -> None:
        self._memory = PhraseMemory(memory_bytes)
        self._files = PhraseFiles(folder, disk_bytes) if folder else None
        self._metrics = metrics
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="phrases")
        self._waiting: set[str] = set()

    async def open(self) -> None:
        """Find the files of earlier runs. Raises OSError when the folder cannot be used."""
        if self._files is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._files.scan)
        self._tell()

    async def close(self) -> None:
        """Write what waits."""
        await asyncio.to_thread(self._thread.shutdown)

    def __contains__(self, key: str) -> bool:
        """Whether it would be found, unless its file is damaged."""
        return self._memory.get(key) is not None or (self._files is not None and key in self._files)

    async def find(self, key: str) -> Phrase | None:
        """The phrase of this key, which counts as used."""
        if (phrase := self._memory.get(key)) is not None:
            self._metrics.cache_hits.labels("memory").inc()
            self._write(key, phrase)
            return phrase
        if self._files is not None and key in self._files:
            loop = asyncio.get_running_loop()
            phrase = await loop.run_in_executor(self._thread, self._files.get, key)
            if phrase is not None:
                self._metrics.cache_hits.labels("disk").inc()
                self._memory.put(key, phrase)
                self._tell()
                return phrase
        self._metrics.cache_misses.inc()
        return None

    def keep(self, key: str, phrase: Phrase, *, lasting: bool = False) -> None:
        """Remember a phrase.

        Args:
            lasting: write it to a file now, rather than when it is asked for again.
        """
        self._memory.put(key, phrase)
        if lasting or (self._files is not None and key in self._files):
            self._write(key, phrase, anew=True)
        self._tell()

    def forget(self, beginning: str) -> None:
        """Drop the phrases whose keys begin so; files go as soon as their thread has time."""
        self._memory.forget(beginning)
        if self._files is not None:
            self._thread.submit(self._files.forget, beginning)
        self._tell()

    def _write(self, key: str, phrase: Phrase, *, anew: bool = False) -> None:
        if self._files is None or key in self._waiting or len(self._waiting) >= _MAX_WAITING:
            return
        if key in self._files and not anew:
            return
        loop = asyncio.get_running_loop()
        self._waiting.add(key)
        writing = loop.run_in_executor(self._thread, self._files.put, key, phrase)
        writing.add_done_callback(lambda _: self._written(key))

    def _written(self, key: str) -> None:
        self._waiting.discard(key)
        self._tell()

    def _tell(self) -> None:
        for tier, store in (("memory", self._memory), ("disk", self._files)):
            if store is not None:
                self._metrics.cache_bytes.labels(tier).set(store.bytes)
                self._metrics.cache_entries.labels(tier).set(len(store))
