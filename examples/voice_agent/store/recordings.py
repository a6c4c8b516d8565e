"""The folder of recordings, and the owner of all work on its files: no call waits for that."""

import asyncio
import time
from collections.abc import Coroutine
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

from examples.voice_agent.store.config import RecordingConfig
from examples.voice_agent.store.flac import wav_to_flac
from examples.voice_agent.store.recording import CallRecording
from services.shared.audio.pcm import AudioFormat

log = structlog.get_logger(__name__)

_CLOSE_S = 60.0
_ABANDONED_S = 60.0
"""A file that nobody has written to for so long belongs to a process that died."""


class Recordings:
    """A folder a day, a file a call. One for each process; use it as a context manager.

    Files are written as WAV while the call lasts. Where FLAC is wanted one worker makes it, one
    file after the other, because the CPU is for the calls.
    """

    def __init__(self, config: RecordingConfig) -> None:
        self._config = config
        self._writing: set[asyncio.Task[None]] = set()
        self._complete: asyncio.Queue[Path] = asyncio.Queue()
        self._worker: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._worker = asyncio.create_task(self._encode_forever(), name="recordings")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Finish what was begun; what takes too long is left as WAV, for the next start."""
        assert self._worker is not None
        try:
            async with asyncio.timeout(_CLOSE_S):
                while self._writing:
                    await asyncio.wait(self._writing)
                await self._complete.join()
        except TimeoutError:
            log.error("recordings not finished in time", files=self._complete.qsize())
        tasks = [self._worker, *self._writing]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    def open(self, conversation_id: str, audio_format: AudioFormat) -> CallRecording:
        """Record one call from now on; only with its consent. Use it as a context manager."""
        day = time.strftime("%Y-%m-%d", time.gmtime())
        stem = f"{day}/{conversation_id}"
        return CallRecording(
            self._config, stem, audio_format, self._start, self._complete.put_nowait
        )

    def path(self, name: str) -> Path | None:
        """Where a recording lies, if it is there. Reads the folder.

        `name` is checked, since it comes from the database: it never leads out of the folder. A
        recording that is not FLAC yet is found as the WAV that it is.
        """
        folder = self._config.folder.resolve()
        path = (folder / name).resolve()
        if not name or not path.is_relative_to(folder) or path == folder:
            return None
        return next((each for each in (path, path.with_suffix(".wav")) if each.is_file()), None)

    def forget(self, name: str) -> None:
        """Delete a recording, if it is there."""
        while path := self.path(name):
            path.unlink(missing_ok=True)

    def _start(self, writing: Coroutine[None, None, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(writing, name="recording")
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)
        return task

    async def _encode_forever(self) -> None:
        if self._config.format == "flac":
            for path in await asyncio.to_thread(self._abandoned):
                self._complete.put_nowait(path)
        while True:
            path = await self._complete.get()
            try:
                if self._config.format == "flac":
                    await asyncio.to_thread(_encode, path)
            except (OSError, EOFError, ValueError) as error:
                log.error("recording stays as it is", recording=path.name, why=str(error))
            finally:
                self._complete.task_done()

    def _abandoned(self) -> list[Path]:
        latest = time.time() - _ABANDONED_S
        found = sorted(self._config.folder.glob("*/*.wav"))
        return [path for path in found if path.stat().st_mtime < latest]


def _encode(path: Path) -> None:
    if path.is_file():  # else it was forgotten meanwhile
        wav_to_flac(path, path.with_suffix(".flac"))
        path.unlink(missing_ok=True)
