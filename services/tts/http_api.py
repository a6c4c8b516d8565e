"""`POST /v1/synthesize`: text to audio, streamed while it is made; samples of voices."""

import contextlib
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

import numpy as np
import structlog
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import Field
from starlette.types import Receive, Scope, Send

from services.shared.media.encode import FileFormat, StreamEncoder
from services.shared.protocol.base import ErrorCode, Message, ProtocolError
from services.shared.runtime.grants import KeyedRoute, admitted_request, grant_of, requires
from services.shared.runtime.keys import Scope as KeyScope
from services.shared.runtime.quotas import Use
from services.shared.runtime.tracing import current_span
from services.tts.engines.base import (
    AudioPiece,
    EngineError,
    Floats,
    Voice,
)
from services.tts.listener import Listener
from services.tts.messages import CacheUse, LexiconEntries
from services.tts.service import TtsService
from services.tts.session_trace import segment_span
from services.tts.speech import Speech
from services.tts.voices import sample_text

log = structlog.get_logger(__name__)

_AUDIO: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The speech, in the format that was asked for",
        "content": {"audio/*": {"schema": {"type": "string", "format": "binary"}}},
    }
}
_SILENCE_MS = 20
"""What a text with nothing to speak sounds like."""


class SynthesizeRequest(Message):
    """What to say, and how."""

    text: Annotated[str, Field(min_length=1)]
    voice: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    language: Annotated[str, Field(min_length=2, max_length=35)] | None = None
    format: FileFormat = FileFormat.WAV
    sample_rate: Annotated[int, Field(ge=8000, le=48_000)] | None = None
    """Hz. Left out: the voice's own."""
    speed: Annotated[float, Field(ge=0.25, le=4.0)] = 1.0
    cache: CacheUse = CacheUse.DEFAULT
    normalise: bool = True
    lexicon: LexiconEntries = Field(default_factory=dict)


def speech_routes(service: TtsService) -> APIRouter:
    router = APIRouter(dependencies=[Depends(requires(KeyScope.TTS))], route_class=KeyedRoute)

    @router.get("/v1/voices/{voice}/sample", response_class=StreamingResponse, responses=_AUDIO)
    async def sample(voice: str, request: Request, format: FileFormat = FileFormat.WAV) -> Response:
        chosen = await choose(voice, None, request)
        text = sample_text(chosen.language)
        return await speak(SynthesizeRequest(text=text, voice=voice, format=format), request)

    @router.post("/v1/synthesize", response_class=StreamingResponse, responses=_AUDIO)
    async def synthesize(wanted: SynthesizeRequest, request: Request) -> Response:
        _check_length(wanted.text, service.config.text.max_request_characters)
        return await speak(wanted, request)

    async def speak(wanted: SynthesizeRequest, request: Request) -> Response:
        with contextlib.ExitStack() as stack:
            grant = stack.enter_context(admitted_request(request))
            voice = await choose(wanted.voice, wanted.language, request)
            # Cutting 20,000 characters into segments takes 40 ms.
            reading = await service.convert(Reading, service, wanted, voice)
            stack.callback(reading.close)
            grant.spend(Use.CHARACTERS, len(wanted.text))
            log.info("speaking", content=wanted.text)
            try:
                first = await reading.first_bytes()
            except ProtocolError:
                grant.spend(Use.CHARACTERS, -len(wanted.text))
                raise
            return _ReadingResponse(reading, first, stack.pop_all())

    async def choose(voice: str | None, language: str | None, request: Request) -> Voice:
        owner = grant_of(request).owner
        try:
            await service.prepare(voice, owner)
        except EngineError as error:
            raise ProtocolError(error.code, error.message) from None
        return service.voices_for(owner).choose(voice, language)

    return router


class Reading:
    """One request's audio: segments are spoken one after the other, encoded as they come.

    Raises:
        ProtocolError: the lexicon does not fit the voice.
    """

    def __init__(self, service: TtsService, wanted: SynthesizeRequest, voice: Voice) -> None:
        self._service = service
        self._voice = voice
        self._cache = wanted.cache
        reader = service.reader(self._voice, normalise=wanted.normalise, lexicon=wanted.lexicon)
        self._requests = service.plan(
            wanted.text, self._voice, reader, language=wanted.language, speed=wanted.speed
        )
        rate = wanted.sample_rate or self._voice.sample_rate
        self.encoder = StreamEncoder(wanted.format, rate, source_rate=self._voice.sample_rate)
        self._listener = Listener(service.metrics)
        self._speech: Speech | None = None
        self._data = self._encode()

    async def first_bytes(self) -> bytes:
        """The beginning: until it is there, a failure can still be told by HTTP status.

        Raises:
            ProtocolError: also `overloaded`, at once, when it would take too long.
        """
        try:
            self._service.check_requests(self._requests, self._cache)
            return await anext(self._data, b"")
        except EngineError as error:
            raise ProtocolError(
                error.code,
                error.message,
                retry_after_s=error.retry_after_s,
                retryable=error.retryable,
            ) from None

    def more_bytes(self) -> AsyncIterator[bytes]:
        """The rest.

        Raises:
            EngineError
        """
        return self._data

    def close(self) -> None:
        """Stop synthesising, also when the client went away in the middle."""
        if self._speech is not None:
            self._speech.close()
            self._speech = None

    async def _encode(self) -> AsyncIterator[bytes]:
        if not self._requests:  # not every player opens a file without any sample
            yield await self._service.convert(self.encoder.push, self._silence())
        async for piece in self._pieces():
            data = await self._service.convert(self.encoder.push, piece.samples)
            if data:
                yield data
        if data := await self._service.convert(self.encoder.finish):
            yield data

    def _silence(self) -> Floats:
        return np.zeros(self._voice.sample_rate * _SILENCE_MS // 1000, dtype=np.float32)

    async def _pieces(self) -> AsyncIterator[AudioPiece]:
        asked_at = time.monotonic()
        for request in self._requests:
            with segment_span(current_span(), request) as span:
                self._speech = await self._service.speak(request, self._cache)
                span.note(source=self._speech.source)
                while piece := await self._speech.next_piece(self._listener.deadline(asked_at)):
                    if self._listener.waits(asked_at):
                        span.event("first audio")
                        self._listener.heard_first(asked_at, self._speech.source)
                    self._listener.sent(len(piece.samples) / self._voice.sample_rate, asked_at)
                    since = time.monotonic()
                    yield piece
                    self._listener.taken(since)
                self.close()


class _ReadingResponse(StreamingResponse):
    """Gives back what the request holds, however the response ends."""

    def __init__(self, reading: Reading, first: bytes, held: contextlib.ExitStack) -> None:
        self._held = held
        super().__init__(
            self._body(reading, first),
            media_type=reading.encoder.content_type,
            headers={"X-Sample-Rate": str(reading.encoder.sample_rate), "X-Accel-Buffering": "no"},
        )

    @staticmethod
    async def _body(reading: Reading, first: bytes) -> AsyncIterator[bytes]:
        yield first
        async for data in reading.more_bytes():
            yield data

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._held:
            try:
                await super().__call__(scope, receive, send)
            except EngineError as error:
                # Too late for a status. The server breaks a body off that it sees unfinished.
                log.warning("speech broke off", code=error.code.value, reason=error.message)


def _check_length(text: str, limit: int) -> None:
    if len(text) > limit:
        raise ProtocolError(
            ErrorCode.TEXT_TOO_LONG,
            f'field "text" has {len(text)} characters; the limit is {limit}',
        )
