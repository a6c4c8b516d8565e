"""A segment's audio for whoever asks: fresh from an engine, shared with others, or from the cache.

Requests that are equal at the same time are synthesised once: they join one *flight*, which goes on
as long as one of them listens. Nobody's cancel stops another's audio.
"""

import asyncio
from collections.abc import Callable, Iterator
from typing import Protocol

from services.tts.cache import PhraseCache
from services.tts.engines.base import AudioPiece, EngineError, SynthesisRequest, Voice
from services.tts.messages import CacheUse
from services.tts.metrics import TtsMetrics
from services.tts.phrase import Phrase, phrase_key
from services.tts.speakers import Speaker, SpeechStream


class Speech(Protocol):
    """One segment on its way to one listener."""

    source: str
    """`engine` or `cache`."""

    async def next_piece(self, deadline: float) -> AudioPiece | None:
        """More audio, None at the end.

        Args:
            deadline: `time.monotonic()` at which the listener runs dry.

        Raises:
            EngineError
        """
        ...

    def hasten(self, deadline: float) -> None:
        """The piece that is being waited for is needed sooner than was said."""
        ...

    def close(self) -> None:
        """Nothing more is wanted; frees the engine, if nobody else listens. May come twice."""
        ...


class FreshSpeech:
    """A stream of an engine for one listener."""

    source = "engine"

    def __init__(self, speaker: Speaker, request: SynthesisRequest) -> None:
        self._speaker = speaker
        self._stream: SpeechStream | None = speaker.open(request)

    async def next_piece(self, deadline: float) -> AudioPiece | None:
        stream = self._stream
        if stream is None:
            return None
        try:
            piece = await self._speaker.next_piece(stream, deadline)
        except EngineError:
            self._end(stream)
            raise
        if piece is None:
            self._end(stream)
        return piece

    def hasten(self, deadline: float) -> None:
        """The piece that is being waited for is needed sooner."""
        if self._stream is not None:
            self._speaker.hasten(self._stream, deadline)

    def close(self) -> None:
        if self._stream is not None:
            self._speaker.abandon(self._stream)
            self._stream = None

    def _end(self, stream: SpeechStream) -> None:
        self._speaker.finish(stream)
        self._stream = None


class RecordedSpeech:
    """A phrase of the cache."""

    source = "cache"

    def __init__(self, phrase: Phrase) -> None:
        self._pieces: Iterator[AudioPiece] = phrase.pieces()

    async def next_piece(self, deadline: float) -> AudioPiece | None:
        return next(self._pieces, None)

    def hasten(self, deadline: float) -> None:
        """It never waits."""

    def close(self) -> None:
        self._pieces = iter(())


class Flight:
    """One synthesis with any number of listeners; each piece is made when the first needs it.

    Args:
        landed: called once, with all pieces, or None when it failed or nobody listens any more.
    """

    def __init__(
        self, speech: FreshSpeech, landed: Callable[["Flight", list[AudioPiece] | None], None]
    ) -> None:
        self._speech = speech
        self._landed = landed
        self._pieces: list[AudioPiece] = []
        self._ended = False
        self._error: EngineError | None = None
        self._making: asyncio.Task[None] | None = None
        self._listeners = 0

    def join(self) -> "SharedSpeech":
        self._listeners += 1
        return SharedSpeech(self)

    async def piece(self, number: int, deadline: float) -> AudioPiece | None:
        while number >= len(self._pieces):
            if self._error is not None:
                raise self._error.again()
            if self._ended:
                return None
            if self._making is None:
                self._making = asyncio.create_task(self._make(deadline))
            else:
                self._speech.hasten(deadline)
            await asyncio.shield(self._making)  # one listener's cancel is not another's
        return self._pieces[number]

    def hasten(self, number: int, deadline: float) -> None:
        """Somebody waits for this piece, and needs it sooner."""
        if self._making is not None and number == len(self._pieces):
            self._speech.hasten(deadline)

    def leave(self) -> None:
        """One listener less; the last one takes the engine's work with it."""
        self._listeners -= 1
        if self._listeners == 0 and not self._over:
            self._ended = True
            if self._making is not None:
                self._making.cancel()
            self._speech.close()
            self._landed(self, None)

    @property
    def _over(self) -> bool:
        return self._ended or self._error is not None

    async def _make(self, deadline: float) -> None:
        try:
            piece = await self._speech.next_piece(deadline)
        except EngineError as error:
            self._error = error.again()
            self._landed(self, None)
        else:
            if piece is not None:
                self._pieces.append(piece)
            else:
                self._ended = True
                self._landed(self, self._pieces)
        finally:
            self._making = None


class SharedSpeech:
    """One listener of a flight."""

    source = "engine"

    def __init__(self, flight: Flight) -> None:
        self._flight: Flight | None = flight
        self._number = 0

    async def next_piece(self, deadline: float) -> AudioPiece | None:
        if self._flight is None:
            return None
        piece = await self._flight.piece(self._number, deadline)
        self._number += 1
        return piece

    def hasten(self, deadline: float) -> None:
        if self._flight is not None:
            self._flight.hasten(self._number, deadline)

    def close(self) -> None:
        if self._flight is not None:
            flight, self._flight = self._flight, None
            flight.leave()


class SpeechDesk:
    """Where segments are asked for.

    Args:
        cache: None: nothing is kept and nothing is shared.
    """

    def __init__(self, cache: PhraseCache | None, metrics: TtsMetrics) -> None:
        self._cache = cache
        self._metrics = metrics
        self._flights: dict[str, Flight] = {}

    def holds(self, request: SynthesisRequest, voice: Voice) -> bool:
        """Whether no engine would be needed."""
        return self._cache is not None and phrase_key(request, voice) in self._cache

    def forget(self, voice_id: str) -> None:
        """A cloned voice is gone: nothing of it is kept, nobody joins what is being spoken."""
        beginning = f"{voice_id}-"
        for key in [key for key in self._flights if key.startswith(beginning)]:
            del self._flights[key]
        if self._cache is not None:
            self._cache.forget(beginning)

    async def open(
        self,
        speaker: Speaker,
        voice: Voice,
        request: SynthesisRequest,
        use: CacheUse = CacheUse.DEFAULT,
        *,
        lasting: bool = False,
    ) -> Speech:
        """Begin to speak `request`; to be closed by the caller, however it ends.

        Args:
            lasting: keep it in a file at once.
        """
        if self._cache is None or use is CacheUse.BYPASS:
            return FreshSpeech(speaker, request)
        key = phrase_key(request, voice)
        if use is CacheUse.DEFAULT:
            if (flight := self._flights.get(key)) is not None:
                self._metrics.cache_hits.labels("flight").inc()
                return flight.join()
            if (phrase := await self._cache.find(key)) is not None:
                return RecordedSpeech(phrase)
            if (flight := self._flights.get(key)) is not None:  # begun while the file was read
                return flight.join()

        def landed(flight: Flight, pieces: list[AudioPiece] | None) -> None:
            if self._flights.get(key) is flight:  # else a refresh has taken its place
                del self._flights[key]
                if pieces and self._cache is not None:
                    phrase = Phrase.recorded(pieces, voice.sample_rate)
                    self._cache.keep(key, phrase, lasting=lasting)

        flight = self._flights[key] = Flight(FreshSpeech(speaker, request), landed)
        return flight.join()
