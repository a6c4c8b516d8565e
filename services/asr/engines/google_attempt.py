"""One call of `StreamingRecognize`: audio goes in at a pace, results come out, until it is left."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Protocol, TypeVar

from services.asr.engines.google_errors import error_of
from services.asr.engines.google_pace import Pace
from services.asr.engines.google_results import Result
from services.asr.engines.google_tape import Tape

T = TypeVar("T")

PER_MS = 16
"""Samples."""
_PIECE = 100 * PER_MS
"""Audio of one request as it comes in: what Google recommends."""
_LARGEST_PIECE = 400 * PER_MS
"""Audio of one request at most: 12.8 kB, where the documentation has 15 kB and the service 25."""


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


class Left(Enum):
    """Why we left a call."""

    ROLLED = auto()
    CUT = auto()
    FINISHED = auto()


class Attempt:
    """Sends and reads at the same time.

    Args:
        tape: sent from where it is rewound to.
        take: told of results, with times from the tape's first sample.
    """

    def __init__(
        self, tape: Tape, take: Callable[[Sequence[Result]], None], limits: StreamLimits
    ) -> None:
        self.left: Left | None = None
        self.cut = 0
        """The sample at which the audio was cut, if it was."""
        self.last: list[Result] = []
        """What came after the cut; it is not taken."""
        self._tape = tape
        self._take = take
        self._limits = limits
        self._begin = tape.sent
        self._since = time.monotonic()

    async def run(self, connect: Connect) -> None:
        """Until the call is left.

        Raises:
            GoogleError: it ended otherwise.
        """
        call = await self._within_limit(connect())
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

    # Results.

    async def _read(self, call: Call) -> None:
        async for response in call.results():
            results = [self._moved(result) for result in response]
            if self.left is Left.CUT:
                self.last += results
                continue
            self._take(results)
            settled = any(result.final for result in results)
            if settled and self.left is None and self._age() >= self._limits.roll_s:
                self.left = Left.ROLLED
                return

    def _moved(self, result: Result) -> Result:
        """With times from the tape's first sample; without one, it goes up to what was sent."""
        offset, sent = self._begin // PER_MS, self._tape.sent // PER_MS
        words = tuple(
            replace(word, start_ms=word.start_ms + offset, end_ms=word.end_ms + offset)
            for word in result.words
        )
        end = result.end_ms + offset if result.end_ms else (words[-1].end_ms if words else sent)
        return replace(result, end_ms=min(end, sent), words=words)

    # Audio.

    async def _send(self, call: Call) -> None:
        pace = Pace(self._limits.rate, self._limits.burst_s)
        while piece := await self._next_piece():
            await asyncio.sleep(pace.delay(piece / 16_000, time.monotonic()))
            audio = self._tape.next(piece)
            self._tape.advance(piece)  # first: its results may come before the sending returns
            await self._within_limit(call.send(audio))
        await self._within_limit(call.end())
        await asyncio.sleep(self._limits.final_s)
        raise error_of("DEADLINE_EXCEEDED")  # the reader would have ended this

    async def _next_piece(self) -> int:
        """Samples to send now; 0 when this call gets no more."""
        if self._age() >= self._limits.longest_s:
            return self._leave(Left.CUT)
        try:
            async with asyncio.timeout(self._limits.idle_s):
                more = await self._tape.more_than(self._tape.sent, _PIECE)
        except TimeoutError:
            if self._tape.end == self._tape.sent:
                return self._leave(Left.CUT)
            more = True
        waiting = self._tape.end - self._tape.sent
        return min(_LARGEST_PIECE, waiting) if more else self._leave(Left.FINISHED)

    def _leave(self, left: Left) -> int:
        self.left, self.cut = left, self._tape.sent
        return 0

    async def _within_limit(self, work: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self._limits.connect_s):
                return await work
        except TimeoutError:
            raise error_of("DEADLINE_EXCEEDED") from None

    def _age(self) -> float:
        """Of the call, by the clock or by the audio, whichever is more."""
        audio_s = (self._tape.sent - self._begin) / 16_000
        return max(time.monotonic() - self._since, audio_s)
