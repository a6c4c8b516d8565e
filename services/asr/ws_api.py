"""`WS /v1/stream/asr`: gives every client that may come in a conversation, or its own one back."""

import structlog
from fastapi import APIRouter, WebSocket
from pydantic import ValidationError

from services.asr.conversation import Conversation
from services.asr.link import Link
from services.asr.links import Links
from services.asr.messages import Resume
from services.asr.service import AsrService
from services.shared.protocol.base import ErrorCode, ProtocolError
from services.shared.protocol.codec import describe
from services.shared.runtime.connection import admitted, converse, readmitted
from services.shared.runtime.edge import error_response
from services.shared.runtime.keys import Scope
from services.shared.runtime.lifecycle import LAST_WORDS_S, Lifecycle, lifecycle_of

PROBE = "x-voice-probe"
"""Header of a balancer that looks for a session: it asks the next instance after a 404."""


def stream_routes(service: AsrService, lifecycle: Lifecycle) -> APIRouter:
    router = APIRouter()
    links = Links(service.config.resume, lifecycle, service.metrics)

    @router.websocket("/v1/stream/asr")
    async def stream(websocket: WebSocket) -> None:
        if "session_id" not in websocket.query_params:
            await _begin(websocket, service, links)
        elif PROBE in websocket.headers and (unknown := _unknown(websocket, links)):
            await websocket.send_denial_response(error_response(unknown))
        else:
            await _carry_on(websocket, links)

    return router


async def _begin(websocket: WebSocket, service: AsrService, links: Links) -> None:
    """Run a new session to its end, also when other connections carry it by then."""
    lifecycle = lifecycle_of(websocket.app)
    async with admitted(websocket, lifecycle, Scope.ASR) as connection:
        if connection is None:
            return
        link = Link(connection, links)
        conversation = Conversation(link, service, lifecycle)
        try:
            await converse(link, lifecycle, conversation.run, last_words_s=LAST_WORDS_S)
        finally:
            conversation.close()
            link.close()


async def _carry_on(websocket: WebSocket, links: Links) -> None:
    """Let a session go on over this connection. It has its place already, so none is counted."""
    connection = await readmitted(websocket, lifecycle_of(websocket.app), Scope.ASR)
    if connection is None:
        return
    try:
        wanted = _resume(websocket)
        link = links.find(wanted.session_id, connection.grant.holder)
        structlog.contextvars.bind_contextvars(session_id=link.session_id)
        await link.carry_on(connection, wanted.last_event)
    except ProtocolError as refusal:
        links.errors.labels(refusal.code.value).inc()
        await connection.dismiss(refusal)


def _unknown(websocket: WebSocket, links: Links) -> ProtocolError | None:
    """Why another instance must be asked for this session, if that is so.

    Only a balancer is told so before the upgrade: browsers cannot read the answer there.
    """
    try:
        grant = lifecycle_of(websocket.app).keys.check(websocket, Scope.ASR)
        links.find(_resume(websocket).session_id, grant.holder)
    except ProtocolError as refusal:
        return refusal if refusal.code is ErrorCode.SESSION_NOT_FOUND else None
    return None


def _resume(websocket: WebSocket) -> Resume:
    try:
        return Resume.model_validate_strings(dict(websocket.query_params))
    except ValidationError as error:
        raise ProtocolError(ErrorCode.INVALID_MESSAGE, f"resume: {describe(error)}") from None
