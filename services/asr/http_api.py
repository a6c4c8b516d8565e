"""`POST /v1/transcribe`: a file in any common format to text."""

import asyncio
import contextlib
from typing import Annotated

from fastapi import APIRouter, Depends, File, Form, Request, UploadFile
from fastapi.responses import Response

from services.asr.service import AsrService
from services.asr.session import known_language
from services.asr.transcript import Transcript
from services.asr.transcription import Wishes, transcribe
from services.shared.media.decode import AudioTooLong, UnreadableAudio, decode_audio
from services.shared.protocol.base import ErrorCode, ProtocolError
from services.shared.protocol.codec import encode
from services.shared.runtime.edge import require_key
from services.shared.runtime.lifecycle import lifecycle_of
from services.shared.runtime.scheduler import QueueFull, SchedulerClosed

_FIELDS = {"file", "language", "word_timestamps", "prompt", "hotwords"}
_GONE_CHECK_S = 0.5


def transcribe_routes(service: AsrService) -> APIRouter:
    router = APIRouter(dependencies=[Depends(require_key)])
    places = asyncio.Semaphore(service.config.upload.max_concurrent)

    @router.post("/v1/transcribe", response_model=Transcript, response_model_exclude_none=True)
    async def transcribe_file(
        request: Request,
        file: Annotated[UploadFile, File(description="wav, flac, mp3, ogg, webm, m4a …")],
        language: Annotated[str | None, Form(description="ISO 639-1; none: detect")] = None,
        word_timestamps: Annotated[bool, Form()] = False,
        prompt: Annotated[str, Form(max_length=1000, description="context or spelling")] = "",
        hotwords: Annotated[str, Form(max_length=4000, description="separated by commas")] = "",
    ) -> Response:
        with lifecycle_of(request.app).admit():
            await _refuse_unknown_fields(request)
            languages = service.engine_languages()
            wishes = Wishes(
                language=known_language(language, languages) if language else None,
                word_timestamps=word_timestamps,
                prompt=prompt,
                hotwords=tuple(word.strip() for word in hotwords.split(",") if word.strip()),
            )
            if places.locked():
                raise ProtocolError(
                    ErrorCode.OVERLOADED,
                    f"{service.config.upload.max_concurrent} files are being transcribed; "
                    "try again shortly",
                )
            async with places:
                work = asyncio.ensure_future(_transcribe_upload(service, file, wishes))
                transcript = await _unless_gone(request, work)
        return Response(encode(transcript), media_type="application/json")

    return router


async def _refuse_unknown_fields(request: Request) -> None:
    unknown = set(await request.form()) - _FIELDS
    if unknown:
        raise ProtocolError(
            ErrorCode.INVALID_MESSAGE,
            f'unknown field "{sorted(unknown)[0]:.80}"; known are {", ".join(sorted(_FIELDS))}',
        )


async def _transcribe_upload(service: AsrService, file: UploadFile, wishes: Wishes) -> Transcript:
    limit_s = service.config.upload.max_duration_s
    try:
        samples = await asyncio.to_thread(decode_audio, file.file, max_duration_s=limit_s)
        return await transcribe(service, samples, wishes)
    except UnreadableAudio as error:
        raise ProtocolError(ErrorCode.UNREADABLE_AUDIO, f'field "file": {error}') from None
    except AudioTooLong as error:
        raise ProtocolError(ErrorCode.AUDIO_TOO_LONG, f'field "file": {error}') from None
    except QueueFull as error:
        raise ProtocolError(ErrorCode.OVERLOADED, str(error)) from None
    except SchedulerClosed as error:
        raise ProtocolError(ErrorCode.SHUTTING_DOWN, str(error)) from None


async def _unless_gone(request: Request, work: "asyncio.Future[Transcript]") -> Transcript:
    """Await the work, but give it up when the client has hung up."""
    try:
        while True:
            done, _ = await asyncio.wait({work}, timeout=_GONE_CHECK_S)
            if done:
                return work.result()
            if await request.is_disconnected():
                raise ProtocolError(ErrorCode.IDLE_TIMEOUT, "the client has gone")
    finally:
        if not work.done():
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work
