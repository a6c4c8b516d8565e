"""Health and metrics, for whoever looks after the process. As in the services, health needs no key,
and metrics need one where others can reach them."""

import asyncio

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from examples.voice_agent.api.access import TheStore
from examples.voice_agent.api.config import ApiConfig
from examples.voice_agent.api.keys import KeyRing
from examples.voice_agent.store.database import DATABASE_ERRORS
from examples.voice_agent.store.migrate import current_revision, newest_revision
from examples.voice_agent.vitals import Vitals

router = APIRouter(tags=["health"])


@router.get("/health/live", summary="Does the process answer?")
async def live() -> dict[str, bool]:
    return {"live": True}


@router.get(
    "/health/ready",
    summary="Can calls come, and is the database there and up to date?",
    responses={503: {"description": "No; the body says why"}},
)
async def ready(request: Request, store: TheStore) -> JSONResponse:
    waiting, spooled = store.journal.backlog
    body: dict[str, object] = {
        "calls": len(store.live.calls),
        "journal": {"waiting": waiting, "spool_bytes": spooled, "lost": store.journal.lost},
    }
    try:
        newest = await asyncio.to_thread(newest_revision)
        found = await current_revision(store.database)
        troubles = [] if found == newest else [f"the database is at {found}, not at {newest}"]
    except DATABASE_ERRORS:
        troubles = ["the database cannot be reached"]
    vitals: Vitals = request.app.state.vitals
    troubles += vitals.troubles()
    body["ready"] = not troubles
    if troubles:
        body["troubles"] = troubles
    return JSONResponse(body, status_code=503 if troubles else 200)


@router.get("/metrics", summary="Prometheus metrics", response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    config: ApiConfig = request.app.state.config
    if not config.shows_metrics:
        keys: KeyRing = request.app.state.keys
        keys.holder(request)
    vitals: Vitals = request.app.state.vitals
    text = await asyncio.to_thread(generate_latest, vitals.registry)  # it reads files of /proc
    return Response(text, media_type=CONTENT_TYPE_LATEST)
