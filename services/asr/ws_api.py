"""`WS /v1/stream/asr`: gives every client that may come in a conversation."""

from fastapi import APIRouter, WebSocket

from services.asr.conversation import Conversation
from services.asr.service import AsrService
from services.shared.runtime.connection import admitted, converse
from services.shared.runtime.lifecycle import lifecycle_of


def stream_routes(service: AsrService) -> APIRouter:
    router = APIRouter()

    @router.websocket("/v1/stream/asr")
    async def stream(websocket: WebSocket) -> None:
        lifecycle = lifecycle_of(websocket.app)
        async with admitted(websocket, lifecycle) as connection:
            if connection is None:
                return
            conversation = Conversation(connection, service, lifecycle.metrics)
            try:
                await converse(connection, lifecycle, conversation.run)
            finally:
                conversation.close()

    return router
