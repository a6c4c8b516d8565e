"""`/v1/conversations`: what was said, and its sound."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import FileResponse
from pydantic import AwareDatetime

from examples.voice_agent.api.access import Holder, KeyedRoute, TheStore
from examples.voice_agent.api.errors import ApiError, ErrorKind
from examples.voice_agent.api.messages import (
    ConversationPage,
    ConversationTold,
    TranscriptTold,
)
from examples.voice_agent.store.conversations import ConversationFilter

router = APIRouter(prefix="/v1/conversations", tags=["conversations"], route_class=KeyedRoute)

_TYPES = {".wav": "audio/wav", ".flac": "audio/flac"}


@router.get("", summary="Conversations, the newest first")
async def list_conversations(
    store: TheStore,
    holder: Holder,
    agent: str | None = None,
    caller: str | None = None,
    called: str | None = None,
    outcome: str | None = None,
    since: AwareDatetime | None = None,
    until: AwareDatetime | None = None,
    live: bool | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=300)] = None,
) -> ConversationPage:
    wanted = ConversationFilter(agent, caller, called, outcome, since, until, live)
    page = await store.conversations.page(wanted, limit=limit, cursor=cursor)
    told = [ConversationTold.of(each) for each in page.conversations]
    return ConversationPage(conversations=told, next=page.next)


@router.get("/{conversation_id}", summary="A conversation with its transcript")
async def get(conversation_id: str, store: TheStore, holder: Holder) -> TranscriptTold:
    return TranscriptTold.of(await store.conversations.transcript(conversation_id))


@router.get(
    "/{conversation_id}/audio",
    summary="Its recording: the caller on the left, the agent on the right",
    response_class=FileResponse,
)
async def audio(conversation_id: str, store: TheStore, holder: Holder) -> FileResponse:
    """Parts of it by the header `Range`."""
    found = await store.conversations.get(conversation_id)
    name = found.row.recording
    path = await asyncio.to_thread(store.recordings.path, name) if name else None
    if path is None:
        raise ApiError(ErrorKind.NOT_FOUND, f"conversation {conversation_id} has no recording")
    return FileResponse(path, media_type=_TYPES.get(path.suffix, "application/octet-stream"))


@router.delete("/{conversation_id}", status_code=204, summary="Forget a conversation that is over")
async def forget(conversation_id: str, store: TheStore, holder: Holder) -> None:
    """With its recording, for good."""
    recording = await store.conversations.forget(conversation_id)
    if recording:
        await asyncio.to_thread(store.recordings.forget, recording)
