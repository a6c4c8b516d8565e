"""Recognition by an engine that listens along: a segment is a stream, opened when it begins."""

import asyncio
import contextlib
import time
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from typing import Any

from services.asr.agreement import keeping
from services.asr.commands import Decode, Listen
from services.asr.engines.base import (
    Capabilities,
    DecodeRequest,
    EngineError,
    Floats,
    Hypothesis,
)
from services.asr.engines.streaming import RecognitionStream, StreamingEngine, StreamOptions
from services.asr.history import AudioHistory
from services.asr.recognition import Answer
from services.shared.runtime.scheduler import Completed, QueueFull, Scheduler

_KEPT = 8 * 16_000
"""Samples kept for a segment that begins a little before now: pre-roll is 5 s at most."""
_NEWS_S = 1.0
"""How long a partial waits for something new before it tells what there is."""
_ROOM_S = 5.0
"""How long a session that is ahead of its stream is held back at a time."""
_AGAIN_S = 1.0
"""After a lost stream partials do not open the next one for so long; a final does at once."""
_MOST_FILES = 4
"""Pieces of recordings under way at a time."""


@dataclass(slots=True, eq=False)
class _Line:
    """A segment's stream."""

    stream: RecognitionStream
    start: int
    fed: int
    """One past the last sample that was pushed."""
    seen: int = 0
    """Version of the interim that the client knows."""


class StreamRecognition:
    """One session on a streaming engine.

    Audio is pushed when the session has been asked about it (the loop's next turn), because a
    final ends its stream at an exact sample, and what was heard cannot be unheard.
    """

    def __init__(self, engine: StreamingEngine) -> None:
        self._engine = engine
        self._history = AudioHistory()
        self._line: _Line | None = None
        self._tasks: set[asyncio.Task[Completed[Hypothesis]]] = set()
        self._not_before = 0.0

    def hear(self, samples: Floats) -> None:
        self._history.append(samples)
        asyncio.get_running_loop().call_soon(self._feed)

    def listen(self, command: Listen) -> None:
        if command.start >= self._history.start:
            self._open(command.start, command.request)

    async def room(self) -> None:
        if self._line is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_ROOM_S):
                    await self._line.stream.room()

    def decode(self, command: Decode) -> Answer:
        request = command.request
        end = command.start + len(request.audio)
        line = self._line_of(command, end)
        if not request.final:
            return self._task(self._newest(line, request.prefix))
        self._line = None  # what is heard from now on is not for this stream
        last = self._task(self._last(line, request.prefix))
        # Here, because a task that is cancelled before it began runs nothing of its own.
        last.add_done_callback(lambda _: line.stream.close())
        return last

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._drop_line()

    # Streams.

    def _open(self, start: int, request: DecodeRequest) -> _Line:
        self._drop_line()
        stream = self._engine.open(StreamOptions.of(request))
        self._line = _Line(stream, start, start)
        return self._line

    def _line_of(self, command: Decode, end: int) -> _Line:
        """The segment's stream with the audio up to `end`; one that was lost is opened again.

        Raises:
            QueueFull: for a partial, shortly after a stream was lost.
        """
        line, request = self._line, command.request
        if line is None or line.start != command.start or line.fed > end:
            if not request.final and time.monotonic() < self._not_before:
                raise QueueFull("the stream was lost a moment ago")
            line = self._open(command.start, request)
        line.stream.push(request.audio[line.fed - command.start :])
        line.fed = end
        return line

    def _feed(self) -> None:
        line = self._line
        if line is not None and line.fed < self._history.start:
            self._drop_line()  # too late for what was heard meanwhile: the next decode has it all
        elif line is not None and line.fed < self._history.end:
            line.stream.push(self._history.slice(line.fed, self._history.end))
            line.fed = self._history.end
        self._history.forget(self._history.end - _KEPT)

    def _drop_line(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.stream.close()

    # Answers.

    def _task(self, work: "Coroutine[Any, Any, Completed[Hypothesis]]") -> Answer:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _newest(self, line: _Line, promised: str) -> Completed[Hypothesis]:
        interim = line.stream.interim
        try:
            async with asyncio.timeout(_NEWS_S):
                interim = await line.stream.newer(line.seen)
        except TimeoutError:
            pass  # nothing new: the client is told the same, or nothing
        except EngineError:
            self._lose(line)
            raise
        line.seen = interim.version
        text = keeping(promised, interim.text)
        stable = interim.stable if interim.stable.startswith(promised) else promised
        # It costs nobody anything: waiting is no work.
        return Completed(Hypothesis(text=text, stable=stable), 0.0, 0.0, 1)

    async def _last(self, line: _Line, promised: str) -> Completed[Hypothesis]:
        began = time.monotonic()
        hypothesis = await line.stream.finish()
        text = keeping(promised, hypothesis.text)
        suppressed = None if text else hypothesis.suppressed
        run_ms = (time.monotonic() - began) * 1000
        return Completed(replace(hypothesis, text=text, suppressed=suppressed), 0.0, run_ms, 1)

    def _lose(self, line: _Line) -> None:
        self._not_before = time.monotonic() + _AGAIN_S
        if self._line is line:
            self._drop_line()


class StreamRecogniser:
    """A streaming engine, shared by all sessions."""

    def __init__(self, name: str, engine: StreamingEngine) -> None:
        self.name = name
        self._engine = engine
        self._files = asyncio.Semaphore(_MOST_FILES)

    @property
    def capabilities(self) -> Capabilities:
        return self._engine.capabilities

    @property
    def schedulers(self) -> tuple[Scheduler[Any, Any], ...]:
        return ()

    def busy_for(self) -> float:
        """Its calls have limits of their own."""
        return 0.0

    def load(self) -> None:
        self._engine.load()

    async def start(self) -> None:
        await self._engine.start()

    async def close(self) -> None:
        await self._engine.close()

    def new_recognition(self) -> StreamRecognition:
        return StreamRecognition(self._engine)

    def transcribe(self, request: DecodeRequest) -> Answer:
        return asyncio.ensure_future(self._transcribe(request))

    async def _transcribe(self, request: DecodeRequest) -> Completed[Hypothesis]:
        asked = time.monotonic()
        async with self._files:
            began = time.monotonic()
            hypothesis = await self._engine.transcribe(request)
        done = time.monotonic()
        return Completed(hypothesis, (began - asked) * 1000, (done - began) * 1000, 1)
