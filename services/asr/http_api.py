"""`POST /v1/transcribe`: a file in any common format to text."""

import asyncio
import contextlib

import structlog
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import Field
from starlette.datastructures import UploadFile

from services.asr.languages import known_language
from services.asr.service import AsrService
from services.asr.transcript import Transcript
from services.asr.transcription import Wishes, transcribe
from services.asr.vad.base import SAMPLE_RATE
from services.shared.media.decode import AudioTooLong, UnreadableAudio, decode_audio
from services.shared.protocol.base import ErrorCode, Message, ProtocolError
from services.shared.protocol.codec import encode
from services.shared.runtime.auth import Grant
from services.shared.runtime.connection import shutting_down
from services.shared.runtime.grants import KeyedRoute, admitted_request, requires
from services.shared.runtime.keys import Scope
from services.shared.runtime.lifecycle import lifecycle_of
from services.shared.runtime.quotas import Use
from services.shared.runtime.scheduler import QueueFull, SchedulerClosed
from services.shared.runtime.uploads import client_gone, documented_form, received_form

log = structlog.get_logger(__name__)

_GONE_CHECK_S = 0.5


class TranscribeForm(Message):
    """The text fields of the form."""

    language: str | None = Field(default=None, description="ISO 639-1; without it: detect")
    word_timestamps: bool = False
    prompt: str = Field(default="", max_length=1000, description="context, or how names are spelt")
    hotwords: str = Field(default="", max_length=4000, description="separated by commas")

    def wishes(self, languages: tuple[str, ...]) -> Wishes:
        """Raises ProtocolError `unsupported_language`."""
        return Wishes(
            language=known_language(self.language, languages) if self.language else None,
            word_timestamps=self.word_timestamps,
            prompt=self.prompt,
            hotwords=tuple(word.strip() for word in self.hotwords.split(",") if word.strip()),
        )


def transcribe_routes(service: AsrService) -> APIRouter:
    router = APIRouter(dependencies=[Depends(requires(Scope.ASR))], route_class=KeyedRoute)
    upload = service.config.upload
    places = asyncio.Semaphore(upload.max_concurrent)

    # The body is read here and not by the framework, which would take in all of it before key,
    # room and place are checked.
    @router.post(
        "/v1/transcribe",
        response_model=Transcript,
        response_model_exclude_none=True,
        openapi_extra={"requestBody": documented_form(TranscribeForm)},
    )
    async def transcribe_file(request: Request) -> Response:
        with admitted_request(request) as grant:
            if places.locked():
                raise ProtocolError(
                    ErrorCode.OVERLOADED,
                    f"{upload.max_concurrent} files are being transcribed; try again shortly",
                )
            async with (
                places,
                received_form(request, TranscribeForm, upload.receive_s) as (file, told),
            ):
                wishes = told.wishes(service.engine_languages())
                work = asyncio.ensure_future(_transcribe_upload(service, grant, file, wishes))
                transcript = await _unless_gone(request, work)
        log.info("transcript", content=transcript.text)
        return Response(encode(transcript), media_type="application/json")

    return router


async def _transcribe_upload(
    service: AsrService, grant: Grant, file: UploadFile, wishes: Wishes
) -> Transcript:
    upload = service.config.upload
    try:
        async with asyncio.timeout(upload.transcribe_s):
            samples = await asyncio.to_thread(
                decode_audio, file.file, max_duration_s=upload.max_duration_s
            )
            grant.spend(Use.AUDIO_S, len(samples) / SAMPLE_RATE)
            return await transcribe(service, samples, wishes)
    except UnreadableAudio as error:
        raise ProtocolError(ErrorCode.UNREADABLE_AUDIO, f'field "file": {error}') from None
    except AudioTooLong as error:
        raise ProtocolError(ErrorCode.AUDIO_TOO_LONG, f'field "file": {error}') from None
    except QueueFull as error:
        raise ProtocolError(ErrorCode.OVERLOADED, str(error)) from None
    except TimeoutError:
        sentence = f"no transcript within {upload.transcribe_s:g} s: live callers go first"
        raise ProtocolError(ErrorCode.OVERLOADED, sentence) from None
    except SchedulerClosed as error:
        raise ProtocolError(ErrorCode.SHUTTING_DOWN, str(error)) from None


async def _unless_gone(request: Request, work: "asyncio.Future[Transcript]") -> Transcript:
    """Await the work, but give it up when the client has hung up or the drain is over."""
    closing = lifecycle_of(request.app).closing
    try:
        while True:
            done, _ = await asyncio.wait({work}, timeout=_GONE_CHECK_S)
            if done:
                return work.result()
            if await request.is_disconnected():
                raise client_gone()
            if closing.is_set():
                raise shutting_down()
    finally:
        if not work.done():
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work
