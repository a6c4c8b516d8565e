"""One stretch of speech through Google's `StreamingRecognize`, however many streams that takes.

Google ends a stream after five minutes, or when no audio comes for some seconds. So streams are
rolled: the next one begins where the settled results of the one before end, with the audio since
then played again. What cannot wait for a settled result (endless speech) is cut; the words right
before the cut are left to the next stream. The same repairs a stream that was lost on the way.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Protocol

import numpy as np
import structlog

from services.asr.engines.base import EngineError, Floats, Hypothesis
from services.asr.engines.google_errors import GoogleError, error_of
from services.asr.engines.google_pace import Pace
from services.asr.engines.google_results import Result, Transcript
from services.asr.engines.streaming import Interim

log = structlog.get_logger(__name__)

_PER_MS = 16
"""Samples."""
_PIECE = 100 * _PER_MS
"""Audio of one request as it comes in: what Google recommends."""
_LARGEST_PIECE = 400 * _PER_MS
"""Audio of one request at most: 12.8 kB, where the documentation has 15 kB and the service 25."""
_BEHIND = 3000 * _PER_MS
"""Unsent audio from which on the stream wants no more."""
_RETRIES = 1
"""Streams that are tried again without a settled result in between."""


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """What the service allows, and how long we wait for it."""

    roll_s: float = 240.0
    """From this age on a stream is left at its next settled result."""
    longest_s: float = 290.0
    """And is cut at this age, in speech or silence."""
    idle_s: float = 5.0
    """A stream that gets no audio for so long is ended before the service does."""
    rate: float = 2.0
    """Seconds of audio a second, when there is audio to catch up with."""
    burst_s: float = 2.0
    connect_s: float = 5.0
    """Longest wait for the connection, and for the service to take a piece of audio."""
    final_s: float = 5.0
    """Longest wait for the last result after the last audio."""


class Call(Protocol):
    """One `StreamingRecognize` that has its configuration; raises :class:`GoogleError`."""

    async def send(self, audio: bytes) -> None: ...

    async def end(self) -> None:
        """No more audio."""
        ...

    def results(self) -> AsyncIterator[Sequence[Result]]:
        """Responses; times from the call's first sample."""
        ...

    def cancel(self) -> None: ...


Connect = Callable[[], Awaitable[Call]]


class _Left(Enum):
    """Why we left a call."""

    ROLLED = auto()
    CUT = auto()
    FINISHED = auto()


class GoogleStream:
    """A :class:`.RecognitionStream`; owns one task until it is finished or closed."""

    def __init__(self, connect: Connect, limits: StreamLimits) -> None:
        self._connect = connect
        self._limits = limits
        self._transcript = Transcript()
        self._audio = bytearray()
        """16-bit samples that no settled result covers."""
        self._audio_start = 0
        self._end = 0
        """One past the last sample pushed."""
        self._sent = 0
        self._finishing = False
        self._news = asyncio.Event()
        """Something to send, or nothing more to come."""
        self._sending = asyncio.Event()
        """Something was sent."""
        self._changed = asyncio.Event()
        """Replaced whenever it is set."""
        self._interim = Interim()
        self._failure: EngineError | None = None
        self._task = asyncio.create_task(self._run())

    # A recognition stream.

    def push(self, samples: Floats) -> None:
        if self._task.done():
            return  # lost: whoever awaits its text is told
        self._audio += pcm16(samples)
        self._end += len(samples)
        self._news.set()

    @property
    def interim(self) -> Interim:
        return self._interim

    async def room(self) -> None:
        while self._end - self._sent > _BEHIND and not self._task.done():
            self._sending.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._limits.connect_s):
                    await self._sending.wait()

    async def newer(self, version: int) -> Interim:
        while self._interim.version <= version and not self._task.done():
            await self._changed.wait()
        if self._failure is not None:
            raise self._failure
        return self._interim

    async def finish(self) -> Hypothesis:
        self._finishing = True
        self._news.set()
        try:
            await asyncio.wait({self._task})
        finally:
            self.close()
        if self._task.cancelled():
            raise EngineError("the recognition was given up")
        if self._failure is not None:
            raise self._failure
        return self._transcript.hypothesis()

    def close(self) -> None:
        self._task.cancel()

    # Streams, one after the other.

    async def _run(self) -> None:
        try:
            await self._stretch()
        except EngineError as error:
            self._failure = error
        except Exception as error:  # noqa: BLE001 - whatever the library raises ends this stream only
            log.error("google stream broke", error=repr(error))
            self._failure = EngineError("the connection with Google Cloud Speech broke")
        finally:
            self._publish()
            self._sending.set()

    async def _stretch(self) -> None:
        retries = 0
        attempt: _Attempt | None = None
        while (begin := await self._next_begin(attempt)) is not None:
            self._sent, settled_ms = begin, self._transcript.covered_ms
            attempt = _Attempt(self, begin)
            try:
                await attempt.run()
            except GoogleError as error:
                retries = 1 if self._transcript.covered_ms > settled_ms else retries + 1
                if not error.again or retries > _RETRIES:
                    raise
                attempt.left = _Left.ROLLED

    async def _next_begin(self, before: "_Attempt | None") -> int | None:
        """Where the next call begins, once there is something to hear; None when nothing will."""
        if before is not None and before.left is _Left.FINISHED:
            return None
        if before is not None and before.left is _Left.CUT:
            # What lies right before a cut is heard again, but only if there is more to hear.
            more = await self._audio_after(before.cut)
            if more:
                self._transcript.take_last(before.last, before.cut // _PER_MS)
            else:
                self._transcript.take(before.last)
            self._publish()
            if not more:
                return None
        begin = min(self._transcript.covered_ms * _PER_MS, self._end)
        self._forget(begin)
        return begin if await self._audio_after(begin) else None

    async def _audio_after(self, sample: int) -> bool:
        """Wait for audio beyond `sample`; False when there will be none."""
        while self._end <= sample:
            if self._finishing:
                return False
            self._news.clear()
            await self._news.wait()
        return True

    def _take(self, results: Sequence[Result]) -> None:
        self._transcript.take(results)
        self._forget(min(self._transcript.covered_ms * _PER_MS, self._sent))
        self._publish()

    def _publish(self) -> None:
        text, stable = self._transcript.text, self._transcript.stable
        self._interim = Interim(text, stable, self._interim.version + 1)
        self._changed.set()
        self._changed = asyncio.Event()

    def _slice(self, start: int, end: int) -> bytes:
        at = 2 * (start - self._audio_start)
        return bytes(self._audio[at : at + 2 * (end - start)])

    def _forget(self, before: int) -> None:
        if before > self._audio_start:
            del self._audio[: 2 * (before - self._audio_start)]
            self._audio_start = before


class _Attempt:
    """One call: sends and reads at the same time."""

    def __init__(self, stream: GoogleStream, begin: int) -> None:
        self.cut = 0
        """The sample at which the audio was cut, if it was."""
        self._stream = stream
        self._begin = begin
        self._limits = stream._limits
        self._since = time.monotonic()
        self.left: _Left | None = None
        self.last: list[Result] = []
        """What comes after the cut."""

    async def run(self) -> None:
        call = await self._connected()
        reading = asyncio.create_task(self._read(call))
        sending = asyncio.create_task(self._send(call))
        reading.add_done_callback(lambda _: sending.cancel())
        try:
            await asyncio.wait({reading, sending}, return_when=asyncio.FIRST_EXCEPTION)
            if sending.done() and not sending.cancelled() and (error := sending.exception()):
                raise error
            reading.result()
        finally:
            reading.cancel()
            sending.cancel()
            call.cancel()
        if self.left is None:
            raise error_of("ABORTED")  # the service had enough, without a reason

    async def _connected(self) -> Call:
        try:
            async with asyncio.timeout(self._limits.connect_s):
                return await self._stream._connect()
        except TimeoutError:
            raise error_of("DEADLINE_EXCEEDED") from None

    async def _read(self, call: Call) -> None:
        async for response in call.results():
            results = [self._moved(result) for result in response]
            if self.left is _Left.CUT:
                self.last += results
                continue
            self._stream._take(results)
            settled = any(result.final for result in results)
            if settled and self.left is None and self._age() >= self._limits.roll_s:
                self.left = _Left.ROLLED
                return

    def _moved(self, result: Result) -> Result:
        """With times from the stretch's first sample."""
        offset, sent = self._begin // _PER_MS, self._stream._sent // _PER_MS
        words = tuple(
            replace(word, start_ms=word.start_ms + offset, end_ms=word.end_ms + offset)
            for word in result.words
        )
        end = result.end_ms + offset if result.end_ms else (words[-1].end_ms if words else sent)
        return replace(result, end_ms=end, words=words)

    async def _send(self, call: Call) -> None:
        stream, limits = self._stream, self._limits
        pace = Pace(limits.rate, limits.burst_s)
        while piece := await self._next_piece():
            audio = stream._slice(stream._sent, stream._sent + piece)
            await asyncio.sleep(pace.delay(piece / 16_000, time.monotonic()))
            await self._within_limit(call.send(audio))
            stream._sent += piece
            stream._sending.set()
        await self._within_limit(call.end())
        await asyncio.sleep(limits.final_s)
        raise error_of("DEADLINE_EXCEEDED")  # the reader would have ended this

    async def _next_piece(self) -> int:
        """Samples to send now; 0 when this call gets no more."""
        stream = self._stream
        if self._age() >= self._limits.longest_s:
            return self._stop(_Left.CUT)
        try:
            async with asyncio.timeout(self._limits.idle_s):
                while stream._end - stream._sent < _PIECE and not stream._finishing:
                    stream._news.clear()
                    await stream._news.wait()
        except TimeoutError:
            if stream._end == stream._sent:
                return self._stop(_Left.CUT)
        piece = min(_LARGEST_PIECE, stream._end - stream._sent)
        return piece or self._stop(_Left.FINISHED)

    def _stop(self, left: _Left) -> int:
        self.left, self.cut = left, self._stream._sent
        return 0

    async def _within_limit(self, sending: Awaitable[None]) -> None:
        try:
            async with asyncio.timeout(self._limits.connect_s):
                await sending
        except TimeoutError:
            raise error_of("DEADLINE_EXCEEDED") from None

    def _age(self) -> float:
        """Of the call, by the clock or by the audio, whichever is more."""
        audio_s = (self._stream._sent - self._begin) / 16_000
        return max(time.monotonic() - self._since, audio_s)


def pcm16(samples: Floats) -> bytes:
    """16-bit little-endian, which Google calls LINEAR16."""
    scaled = np.clip(samples, -1.0, 1.0) * 32_767
    return bytes(np.round(scaled).astype("<i2").tobytes())
