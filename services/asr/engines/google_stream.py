"""One stretch of speech through Google's `StreamingRecognize`, however many streams that takes.

Google ends a stream after five minutes, or when no audio comes for some seconds. So streams are
rolled: the next one begins where the settled results of the one before end, with the audio since
then played again. What cannot wait for a settled result (endless speech) is cut; the words right
before the cut are left to the next stream. The same repairs a stream that was lost on the way.
"""

import asyncio
from collections.abc import Sequence

import structlog

from services.asr.engines.base import EngineError, Floats, Hypothesis
from services.asr.engines.google_attempt import PER_MS, Attempt, Connect, Left, StreamLimits
from services.asr.engines.google_errors import GoogleError
from services.asr.engines.google_results import Result, Transcript
from services.asr.engines.google_tape import Tape
from services.asr.engines.streaming import Interim

log = structlog.get_logger(__name__)

_BEHIND = 3000 * PER_MS
"""Unsent audio from which on the stream wants no more."""
_RETRIES = 1
"""Streams that are tried again without a settled result in between."""


class GoogleStream:
    """A :class:`.RecognitionStream`; owns one task until it is finished or closed."""

    def __init__(self, connect: Connect, limits: StreamLimits) -> None:
        self._connect = connect
        self._limits = limits
        self._tape = Tape()
        self._transcript = Transcript()
        self._interim = Interim()
        self._changed = asyncio.Event()
        """Replaced whenever it is set."""
        self._failure: EngineError | None = None
        self._task = asyncio.create_task(self._run())

    # A recognition stream.

    def push(self, samples: Floats) -> None:
        if not self._task.done():  # else it is lost: whoever awaits its text is told
            self._tape.push(samples)

    @property
    def interim(self) -> Interim:
        return self._interim

    async def room(self) -> None:
        if not self._task.done():
            await self._tape.room(_BEHIND, self._limits.connect_s)

    async def newer(self, version: int) -> Interim:
        while self._interim.version <= version and not self._task.done():
            await self._changed.wait()
        if self._failure is not None:
            raise self._failure
        return self._interim

    async def finish(self) -> Hypothesis:
        self._tape.finish()
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

    # Calls, one after the other.

    async def _run(self) -> None:
        try:
            await self._call_by_call()
        except EngineError as error:
            self._failure = error
        except Exception as error:  # noqa: BLE001 - whatever the library raises ends this stream only
            log.error("google stream broke", error=repr(error))
            self._failure = EngineError("the connection with Google Cloud Speech broke")
        finally:
            self._publish()
            self._tape.rewind(self._tape.end)  # nothing more is sent: nobody need wait for it

    async def _call_by_call(self) -> None:
        retries = 0
        before: Attempt | None = None
        while await self._more_to_hear(before):
            settled_ms = self._transcript.covered_ms
            before = Attempt(self._tape, self._take, self._limits)
            try:
                await before.run(self._connect)
            except GoogleError as error:
                retries = 1 if self._transcript.covered_ms > settled_ms else retries + 1
                if not error.again or retries > _RETRIES:
                    raise
                before.left = Left.ROLLED

    async def _more_to_hear(self, before: Attempt | None) -> bool:
        """Rewind to where the next call begins, once there is something for it to hear."""
        if before is not None and before.left is Left.FINISHED:
            return False
        if before is not None and before.left is Left.CUT:
            # What lies right before a cut is heard again, but only if there is more to hear.
            if not await self._tape.more_than(before.cut):
                self._take(before.last)
                return False
            self._transcript.take_last(before.last, before.cut // PER_MS)
            self._publish()
        self._tape.rewind(min(self._transcript.covered_ms * PER_MS, self._tape.sent))
        return await self._tape.more_than(self._tape.sent)

    def _take(self, results: Sequence[Result]) -> None:
        self._transcript.take(results)
        self._tape.forget(min(self._transcript.covered_ms * PER_MS, self._tape.sent))
        self._publish()

    def _publish(self) -> None:
        text, stable = self._transcript.text, self._transcript.stable
        self._interim = Interim(text, stable, self._interim.version + 1)
        self._changed.set()
        self._changed = asyncio.Event()
