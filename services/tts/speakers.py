"""Engines with the schedulers that own them, and the streams of audio that they are making."""

import asyncio
import threading
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy.typing as npt
import structlog

from services.shared.protocol.base import ErrorCode
from services.shared.runtime.scheduler import (
    Completed,
    Priority,
    QueueFull,
    Scheduler,
    SchedulerClosed,
)
from services.tts.admission import Demand, EngineLoad
from services.tts.engines.base import (
    AudioPiece,
    CloningEngine,
    EngineError,
    EngineLost,
    Floats,
    SynthesisRequest,
    TtsEngine,
)
from services.tts.engines.interrupt import Interrupt, interrupted_by
from services.tts.engines.isolated import IsolatedEngine
from services.tts.metrics import TtsMetrics
from services.tts.pacing import expected_s

Tensors = Mapping[str, npt.NDArray[Any]]

log = structlog.get_logger(__name__)


class SpeechStream:
    """One segment being spoken: a job of its engine's scheduler for each piece of audio."""

    def __init__(self, engine: TtsEngine, request: SynthesisRequest) -> None:
        self.request = request
        self._engine = engine
        self._pieces: Generator[AudioPiece, None, None] | None = None
        self._interrupt = Interrupt()
        self._turn = threading.Lock()
        """With several lanes, one may still be stopping when another one closes the stream."""
        self._state = threading.Lock()
        self._running = False
        self._freed: Callable[[], None] | None = None
        self.demand = Demand(deadline=0.0, remaining_s=expected_s(request))

    def step(self) -> AudioPiece | None:
        """The next piece; None at the end. Runs in the engine's thread."""
        with self._turn:
            if self._interrupt.raised:
                self._close()
                return None
            if self._pieces is None:
                self._pieces = self._engine.synthesize(self.request)
            with self._state:
                self._running = True
            try:
                with interrupted_by(self._interrupt):
                    piece = next(self._pieces, None)
            except Exception:
                if not self._interrupt.raised:
                    raise
                piece = None
            finally:
                self._stop_running()
            return None if self._interrupt.raised else piece

    def cancel(self, freed: Callable[[], None] = lambda: None) -> None:
        """Ends what is running; the next step frees what the engine holds for it.

        Args:
            freed: called, in any thread, when the engine does not work on it any more.
        """
        with self._state:
            running = self._running
            self._freed = freed if running else None
        self._interrupt.raise_()
        if not running:
            freed()

    def _stop_running(self) -> None:
        with self._state:
            self._running = False
            freed, self._freed = self._freed, None
        if freed is not None:
            freed()

    def _close(self) -> None:
        if self._pieces is not None:
            self._pieces.close()


class _Job(Protocol):
    """What an engine's threads do: one step of it at a time."""

    def step(self) -> Any: ...


@dataclass(frozen=True, slots=True, eq=False)
class _Conditioning:
    """A cloned voice being computed."""

    engine: CloningEngine
    reference: Floats
    sample_rate: int

    def step(self) -> Tensors:
        return self.engine.condition(self.reference, self.sample_rate)


class Speaker:
    """An engine with the scheduler that owns it and what is known of its load."""

    def __init__(self, engine: TtsEngine, metrics: TtsMetrics, timeout_s: float) -> None:
        self.engine = engine
        self.load = EngineLoad(engine.capabilities.lanes)
        self._metrics = metrics
        self._timeout_s = timeout_s
        self._lost: str | None = None
        """Why an engine that shares our process cannot go on."""
        self.scheduler: Scheduler[_Job, Any] = Scheduler(
            f"tts_{engine.name}", _step, metrics=metrics.models
        )

    def start(self) -> None:
        self.scheduler.start(self.engine.capabilities.lanes)

    def trouble(self) -> str | None:
        """Why the engine cannot serve just now, for operators; None: it can."""
        if isinstance(self.engine, IsolatedEngine):
            return self.engine.trouble()
        return self._lost

    def warm_up(self) -> None:
        """Bring the engine to speed and learn what its work costs. Before `start`."""
        self.engine.warm_up()
        text = "This is how long it takes until one hears something."
        stream = SpeechStream(self.engine, SynthesisRequest(text, self.engine.voices()[0].id))
        first, begun = True, time.monotonic()
        while piece := stream.step():
            now = time.monotonic()
            self._learn(stream, piece, now - begun, first=first)
            first, begun = False, now

    def open(self, request: SynthesisRequest) -> SpeechStream:
        """Give the stream back with `finish` or `abandon`."""
        stream = SpeechStream(self.engine, request)
        stream.demand.deadline = time.monotonic()
        self.load.open(stream.demand)
        self._metrics.characters.inc(len(request.text))
        return stream

    def finish(self, stream: SpeechStream) -> None:
        """It gave all its audio, or failed."""
        self.load.close(stream.demand)

    def hasten(self, stream: SpeechStream, deadline: float) -> None:
        """Another listener needs the piece that is being waited for, and sooner."""
        if deadline < stream.demand.deadline:
            stream.demand.deadline = deadline
            self.scheduler.hasten(stream, deadline)

    @property
    def cloning(self) -> CloningEngine | None:
        """The engine, if it makes voices from reference audio."""
        able = self.engine.capabilities.cloning
        return cast(CloningEngine, self.engine) if able else None

    async def condition(
        self, reference: Floats, sample_rate: int, *, limit_s: float, urgent: bool = False
    ) -> Tensors:
        """Compute a cloned voice, after live speech unless it is urgent.

        Args:
            reference: [n] speech.

        Raises:
            EngineError: also when the engine cannot clone.
        """
        if self.cloning is None:
            raise EngineError(
                f"the engine {self.engine.name} cannot clone voices",
                code=ErrorCode.CLONING_UNSUPPORTED,
            )
        job = _Conditioning(self.cloning, reference, sample_rate)
        priority = Priority.URGENT if urgent else Priority.BULK
        try:
            async with asyncio.timeout(limit_s):
                made = await self.scheduler.submit(job, priority=priority)
        except TimeoutError:
            sentence = f"the voice was not computed within {limit_s:g} s"
            raise EngineError(sentence, code=ErrorCode.OVERLOADED) from None
        except EngineError as error:
            self._note_loss(error)
            raise
        except Exception as error:
            raise self._told(error, "the engine failed on this reference audio") from error
        tensors: Tensors = made.value
        return tensors

    def _note_loss(self, error: EngineError) -> None:
        if isinstance(error, EngineLost):
            self._lost = f"{self.engine.name}: {error.message}; restart the service"

    def _told(self, error: Exception, otherwise: str) -> EngineError:
        """What callers hear of a failure that is not the engine's own word."""
        if isinstance(error, QueueFull):
            return EngineError(str(error), code=ErrorCode.OVERLOADED)
        if isinstance(error, SchedulerClosed):
            return EngineError(str(error), code=ErrorCode.SHUTTING_DOWN)
        log.error("an engine failed", engine=self.engine.name, exc_info=error)
        return EngineError(otherwise)

    async def next_piece(self, stream: SpeechStream, deadline: float) -> AudioPiece | None:
        """Make the next piece; `deadline` is when its listener runs out of audio.

        Raises:
            EngineError
        """
        stream.demand.deadline = deadline
        try:
            async with asyncio.timeout(self._timeout_s):
                # All of it is urgent, some of it more so: the deadlines decide.
                made = await self.scheduler.submit(
                    stream, priority=Priority.URGENT, deadline=deadline
                )
        except TimeoutError:
            self.abandon(stream)
            raise EngineError(f"no audio within {self._timeout_s:g} s") from None
        except EngineError as error:
            self._note_loss(error)
            raise
        except Exception as error:
            raise self._told(error, "the engine failed on this text") from error
        self._note(stream, made)
        piece: AudioPiece | None = made.value
        return piece

    def abandon(self, stream: SpeechStream) -> None:
        """Cancel a stream and let the engine free what it holds, before any other work."""
        asked = time.monotonic()
        self.load.close(stream.demand)
        stream.cancel(lambda: self._metrics.cancel_s.observe(time.monotonic() - asked))
        try:
            closing = self.scheduler.submit(stream, priority=Priority.URGENT, deadline=0.0)
        except (QueueFull, SchedulerClosed):
            return  # the iterator's finaliser frees it
        closing.add_done_callback(_log_failure)

    def _note(self, stream: SpeechStream, made: Completed[AudioPiece | None]) -> None:
        demand = stream.demand
        if made.value is None:
            self.load.close(demand)
            return
        audio_s = self._learn(stream, made.value, made.run_ms / 1000, first=not demand.begun)
        demand.begun = True
        demand.remaining_s = max(0.0, demand.remaining_s - audio_s)

    def _learn(
        self, stream: SpeechStream, piece: AudioPiece, run_s: float, *, first: bool
    ) -> float:
        """Note what a piece took; gives how long it sounds, seconds."""
        voices = self.engine.voices()
        rates = {voice.id: voice.sample_rate for voice in voices}
        # A cloned voice has the rate of its engine.
        audio_s = len(piece.samples) / rates.get(stream.request.voice, voices[0].sample_rate)
        self.load.cost.learn(first=first, run_s=run_s, audio_s=audio_s)
        return audio_s


def _log_failure(closing: asyncio.Future[Completed[AudioPiece | None]]) -> None:
    if not closing.cancelled() and (error := closing.exception()) is not None:
        log.warning("closing a cancelled stream failed", error=repr(error))


def _step(batch: list[_Job]) -> list[Any]:
    return [job.step() for job in batch]
