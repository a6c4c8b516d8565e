"""The stereo recording of one call, a file that can be played at any moment, also after a crash."""

import asyncio
import contextlib
import time
import wave
from collections.abc import Callable, Coroutine
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import structlog

from examples.voice_agent.store.config import RecordingConfig
from examples.voice_agent.store.timeline import Samples, StereoTimeline
from services.shared.audio.pcm import AudioFormat, Encoding, to_int16

log = structlog.get_logger(__name__)

_WRITE_EVERY_S = 0.5


class Consent(StrEnum):
    """May the caller be recorded?"""

    GIVEN = "given"
    REFUSED = "refused"


class CallRecording:
    """A :class:`~examples.voice_agent.ports.Recording`; :meth:`.Recordings.open` makes it.

    A disk that is full or too slow ends the recording, never the call.

    Args:
        start: runs what writes its file, to its end, also when the call does not wait for it.
        finished: is told of a file that is complete.
    """

    def __init__(
        self,
        config: RecordingConfig,
        stem: str,
        audio_format: AudioFormat,
        start: Callable[[Coroutine[None, None, None]], "asyncio.Task[None]"],
        finished: Callable[[Path], None],
    ) -> None:
        self._config = config
        self._start = start
        self._finished = finished
        self._format = audio_format
        self._stem = stem
        self._timeline = StereoTimeline(
            audio_format.sample_rate, time.monotonic(), max_s=config.max_s
        )
        self._path = config.folder / f"{stem}.wav"
        self._file: wave.Wave_write | None = None
        self._failure: str | None = None
        self._discarded = False
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """What the store calls it; the suffix is that of the finished file."""
        return f"{self._stem}.{self._config.format}"

    @property
    def failure(self) -> str | None:
        """Why it ended early."""
        return self._failure

    def caller(self, data: bytes, at_s: float) -> None:
        """What the caller said; `at_s`: arrival of its end."""
        if self._failure is None:
            self._timeline.caller(self._samples(data), at_s)
            self._bound()

    def agent(self, data: bytes, at_s: float) -> None:
        """What was played to the caller; `at_s`: when its beginning was heard."""
        if self._failure is None:
            self._timeline.agent(self._samples(data), at_s)
            self._bound()

    def discard(self) -> None:
        """The caller refused: nothing is kept, also not what was recorded before."""
        self._discarded = True
        self._fail("refused by the caller")

    async def __aenter__(self) -> Self:
        self._task = self._start(self._run())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Write the rest. Who has no time for it may be cancelled: it is written all the same."""
        assert self._task is not None
        self._stop.set()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        try:
            while not self._stop.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_WRITE_EVERY_S):
                        await self._stop.wait()
                if self._failure is None:
                    await asyncio.to_thread(self._write, self._timeline.take())
            if self._failure is None:
                await asyncio.to_thread(self._write, self._timeline.take(final=True))
            if await asyncio.to_thread(self._close):
                self._finished(self._path)
        except (OSError, wave.Error, ValueError) as error:
            self._fail(str(error))

    def _samples(self, data: bytes) -> Samples:
        whole = data[: len(data) - len(data) % self._format.frame_bytes]
        if self._format.encoding is Encoding.PCM_S16LE and self._format.channels == 1:
            return np.frombuffer(whole, dtype="<i2")
        return to_int16(self._format.decode(whole))

    def _bound(self) -> None:
        waiting_s = self._timeline.pending / self._format.sample_rate
        if waiting_s > self._config.buffer_s:
            self._fail(f"the disk is {waiting_s:.0f} s behind")

    def _fail(self, reason: str) -> None:
        if self._failure is None:
            self._failure = reason
            log.warning("recording ended early", recording=self._stem, reason=reason)

    # In threads, one at a time.

    def _write(self, data: bytes) -> None:
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = wave.open(str(self._path), "wb")  # noqa: SIM115 - closed by _close
            self._file.setnchannels(2)
            self._file.setsampwidth(2)
            self._file.setframerate(self._format.sample_rate)
        if data:
            self._file.writeframes(data)  # which also puts the length into the header

    def _close(self) -> bool:
        """Whether there is a file."""
        if self._file is not None:
            self._file.close()
        if self._discarded:
            self._path.unlink(missing_ok=True)
        return self._file is not None and not self._discarded
