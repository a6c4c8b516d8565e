"""`/v1/voices`: make cloned voices, look at them, rename and delete them."""

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from services.shared.protocol.base import ErrorCode, ProtocolError
from services.shared.runtime.grants import KeyedRoute, admitted_request, grant_of, requires
from services.shared.runtime.keys import Scope
from services.shared.runtime.uploads import documented_form, received_form
from services.tts.cloning.maker import Wish
from services.tts.cloning.records import ClonedVoice
from services.tts.cloning.store import VoiceGone
from services.tts.engines.base import EngineError, Voice
from services.tts.service import TtsService
from services.tts.voice_messages import (
    ConsentInfo,
    VoiceChange,
    VoiceDetail,
    VoiceForm,
    VoiceInfo,
    VoiceList,
)


def voice_routes(service: TtsService) -> APIRouter:
    router = APIRouter(prefix="/v1/voices", route_class=KeyedRoute)
    reading = [Depends(requires(Scope.TTS, Scope.VOICES))]
    writing = [Depends(requires(Scope.VOICES))]
    wanted = service.config.voices.reference
    places = asyncio.Semaphore(wanted.max_concurrent)

    @router.get(
        "", response_model=VoiceList, response_model_exclude_none=True, dependencies=reading
    )
    async def all_voices(request: Request) -> VoiceList:
        catalogue = service.voices_for(grant_of(request).owner)
        return VoiceList(
            voices=tuple(
                VoiceInfo(**_fields(voice, catalogue.default)) for voice in catalogue.voices
            )
        )

    # The body is read here and not by the framework, which would take in all of it before key,
    # room and place are checked.
    @router.post(
        "",
        response_model=VoiceDetail,
        response_model_exclude_none=True,
        status_code=201,
        dependencies=writing,
        openapi_extra={"requestBody": documented_form(VoiceForm)},
    )
    async def create(request: Request, response: Response) -> VoiceDetail:
        with admitted_request(request) as grant, _told():
            maker, shelf = service.cloning.maker, service.cloning.shelf
            with shelf.room(grant.owner, grant.limits().voices):
                if places.locked():
                    sentence = f"{wanted.max_concurrent} voices are being made; try again shortly"
                    raise ProtocolError(ErrorCode.OVERLOADED, sentence)
                form = received_form(request, VoiceForm, wanted.receive_s)
                async with places, form as (file, told):
                    wish = _wish(told)
                    record = await maker.make(file.file, wish, grant.owner, key_id=grant.key_id)
        response.headers["Location"] = f"/v1/voices/{record.id}"
        return _detail(service, record.id, record)

    @router.get(
        "/{voice}",
        response_model=VoiceDetail,
        response_model_exclude_none=True,
        dependencies=reading,
    )
    async def one(voice: str, request: Request) -> VoiceDetail:
        if voice in service.voices.ids:
            return _detail(service, voice, None)
        with _told():
            record = await service.cloning.shelf.find(voice, grant_of(request).owner)
        return _detail(service, voice, record)

    @router.patch(
        "/{voice}",
        response_model=VoiceDetail,
        response_model_exclude_none=True,
        dependencies=writing,
    )
    async def rename(voice: str, change: VoiceChange, request: Request) -> VoiceDetail:
        _check_cloned(service, voice)
        with _told():
            shelf = service.cloning.shelf
            record = await shelf.rename(voice, grant_of(request).owner, change.name.strip())
        return _detail(service, voice, record)

    @router.delete("/{voice}", status_code=204, dependencies=writing)
    async def delete(voice: str, request: Request) -> Response:
        _check_cloned(service, voice)
        with _told():
            await service.cloning.shelf.delete(voice, grant_of(request).owner)
        return Response(status_code=204)

    return router


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """What went wrong, as clients hear it. Of others' voices nobody hears that they exist."""
    try:
        yield
    except VoiceGone as gone:
        sentence = f"you have no cloned voice {gone.args[0]!r:.80}"
        raise ProtocolError(ErrorCode.NOT_FOUND, sentence) from None
    except EngineError as error:
        raise ProtocolError(error.code, error.message) from None


def _check_cloned(service: TtsService, voice_id: str) -> None:
    if voice_id in service.voices.ids:
        raise ProtocolError(
            ErrorCode.INVALID_MESSAGE,
            f"voice {voice_id} is built in: the operator's configuration names it",
        )


def _detail(service: TtsService, voice_id: str, record: ClonedVoice | None) -> VoiceDetail:
    try:
        fields = _fields(service.voice_of(voice_id), service.voices.default)
    except EngineError:
        # Deleted a moment ago, or of an engine that runs elsewhere.
        raise ProtocolError(
            ErrorCode.NOT_FOUND, f"voice {voice_id} does not exist, or not on this instance"
        ) from None
    if record is None:
        return VoiceDetail(**fields)
    return VoiceDetail(
        **fields,
        created_at=record.created_at,
        speech_s=record.speech_s,
        snr_db=record.snr_db,
        consent=ConsentInfo(**record.consent.model_dump()),
    )


def _fields(voice: Voice, default: Voice) -> dict[str, Any]:
    told = {name: value for name, value in asdict(voice).items() if name in VoiceInfo.model_fields}
    told["sample"] = voice.sample or f"/v1/voices/{voice.id}/sample"
    return {**told, "default": voice.id == default.id}


def _wish(told: VoiceForm) -> Wish:
    return Wish(told.name.strip(), told.language, told.consent.strip(), told.engine)
