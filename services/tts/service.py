"""The TTS service's parts put together: the engines, the schedulers that own them, the voices."""

import asyncio
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram

from services.shared.models.store import ModelStore
from services.shared.protocol.base import ErrorCode, ProtocolError
from services.shared.runtime.metrics import LATENCY_S
from services.shared.runtime.scheduler import Completed, QueueFull, Scheduler, SchedulerClosed
from services.tts.config import TtsConfig
from services.tts.engines.base import (
    AudioPiece,
    EngineError,
    SynthesisRequest,
    TtsEngine,
    Voice,
)
from services.tts.engines.registry import create_engines
from services.tts.session import SessionOptions
from services.tts.voices import VoiceCatalogue

log = structlog.get_logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

_CONVERTERS = 2
"""Threads that resample and encode; light work that must not be done on the event loop."""


class TtsMetrics:
    """What matters to an operator of TTS beyond what every service has."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.characters = Counter(
            "voice_tts_characters", "Characters given to engines", registry=registry
        )
        self.audio_s = Counter("voice_tts_audio_seconds", "Audio sent", registry=registry)
        self.first_audio_s = Histogram(
            "voice_tts_first_audio_seconds",
            "Request to the first audio of a segment",
            buckets=LATENCY_S,
            registry=registry,
        )
        self.cancelled = Counter("voice_tts_cancelled", "Contexts cancelled", registry=registry)


class SpeechStream:
    """One segment being spoken: a job of its engine's scheduler for each piece of audio."""

    def __init__(self, engine: TtsEngine, request: SynthesisRequest) -> None:
        self._engine = engine
        self._request = request
        self._pieces: Generator[AudioPiece, None, None] | None = None
        self._cancelled = False

    def step(self) -> AudioPiece | None:
        """The next piece; None at the end. Runs in the engine's thread."""
        if self._cancelled:
            self._close()
            return None
        if self._pieces is None:
            self._pieces = self._engine.synthesize(self._request)
        return next(self._pieces, None)

    def cancel(self) -> None:
        """The next step frees what the engine holds for it; no later one gives audio."""
        self._cancelled = True

    def _close(self) -> None:
        if self._pieces is not None:
            self._pieces.close()


class Speaker:
    """An engine with the scheduler that owns it."""

    def __init__(self, engine: TtsEngine, registry: CollectorRegistry, timeout_s: float) -> None:
        self.engine = engine
        self._timeout_s = timeout_s
        self.scheduler: Scheduler[SpeechStream, AudioPiece | None] = Scheduler(
            f"tts_{engine.name}", _step, registry=registry
        )

    def open(self, request: SynthesisRequest) -> SpeechStream:
        return SpeechStream(self.engine, request)

    async def next_piece(self, stream: SpeechStream, deadline: float) -> AudioPiece | None:
        """Make the next piece; `deadline` is when its listener runs out of audio.

        Raises:
            EngineError
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                return (await self.scheduler.submit(stream, deadline=deadline)).value
        except EngineError:
            raise
        except QueueFull as error:
            raise EngineError(str(error), code=ErrorCode.OVERLOADED) from None
        except SchedulerClosed as error:
            raise EngineError(str(error), code=ErrorCode.SHUTTING_DOWN) from None
        except TimeoutError:
            self.abandon(stream)
            raise EngineError(f"no audio within {self._timeout_s:g} s") from None
        except Exception as error:
            log.error("synthesis failed", engine=self.engine.name, exc_info=error)
            raise EngineError("the engine failed on this text") from error

    def abandon(self, stream: SpeechStream) -> None:
        """Cancel a stream and let the engine free what it holds, before any other work."""
        stream.cancel()
        try:
            closing = self.scheduler.submit(stream, deadline=0.0)
        except (QueueFull, SchedulerClosed):
            return  # the iterator's finaliser frees it
        closing.add_done_callback(_log_failure)


class TtsService:
    """Owns the engines; sessions and requests share them."""

    def __init__(self, config: TtsConfig, store: ModelStore, registry: CollectorRegistry) -> None:
        self.config = config
        self.metrics = TtsMetrics(registry)
        self.speakers = tuple(
            Speaker(engine, registry, config.engine_timeout_s)
            for engine in create_engines(config.engines, store)
        )
        self._voices: VoiceCatalogue | None = None
        self._converters = ThreadPoolExecutor(_CONVERTERS, thread_name_prefix="audio")

    @property
    def voices(self) -> VoiceCatalogue:
        if self._voices is None:
            raise ProtocolError(ErrorCode.OVERLOADED, "the service is still loading its models")
        return self._voices

    def speaker_of(self, voice_id: str) -> Speaker:
        """The engine that has this voice."""
        voice = self.voices.choose(voice_id)
        return next(each for each in self.speakers if each.engine.name == voice.engine)

    def session_options(self) -> SessionOptions:
        return self.config.session_options(*(each.engine.capabilities for each in self.speakers))

    async def convert(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run audio work off the event loop."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._converters, lambda: work(*args, **kwargs))

    async def load(self) -> None:
        """Load and warm every engine, off the event loop; ready afterwards."""
        await asyncio.to_thread(self._load)
        for speaker in self.speakers:
            speaker.scheduler.start()

    def _load(self) -> None:
        voices: list[Voice] = []
        for speaker in self.speakers:
            speaker.engine.load()
            voices += speaker.engine.voices()
        wanted = self.config.voices
        self._voices = VoiceCatalogue(
            voices,
            default=wanted.default,
            language_defaults=wanted.languages,
            aliases=wanted.aliases,
        )
        for speaker in self.speakers:
            speaker.engine.warm_up()

    async def unload(self) -> None:
        for speaker in self.speakers:
            if await speaker.scheduler.close():
                await asyncio.to_thread(speaker.engine.close)
            else:
                log.error("engine did not stop", engine=speaker.engine.name)
        self._converters.shutdown(wait=False, cancel_futures=True)


class PlaybackClock:
    """When a listener who plays in real time runs out of what was sent."""

    def __init__(self) -> None:
        self._until = 0.0

    def sent(self, seconds: float) -> None:
        self._until = max(self._until, time.monotonic()) + seconds

    def stopped(self) -> None:
        """The listener dropped what it had not heard yet."""
        self._until = 0.0

    @property
    def playing(self) -> bool:
        """The listener has not heard all yet."""
        return time.monotonic() < self._until

    @property
    def deadline(self) -> float:
        """By when more audio is needed: now, for one who has heard nothing yet."""
        return max(self._until, time.monotonic())


def _step(batch: list[SpeechStream]) -> list[AudioPiece | None | Exception]:
    return [stream.step() for stream in batch]


def _log_failure(closing: asyncio.Future[Completed[AudioPiece | None]]) -> None:
    if not closing.cancelled() and (error := closing.exception()) is not None:
        log.warning("closing a cancelled stream failed", error=repr(error))
