"""`/v1/routes`."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AwareDatetime

from examples.voice_agent.api.access import Holder, KeyedRoute, TheStore
from examples.voice_agent.api.messages import RouteDecision
from examples.voice_agent.store.inbound_routes import RouteSettings, StoredRoute

router = APIRouter(prefix="/v1/routes", tags=["routes"], route_class=KeyedRoute)


@router.get("", summary="All routes, in the order in which they are asked")
async def list_routes(store: TheStore, holder: Holder) -> Sequence[StoredRoute]:
    return await store.routes.list()


@router.post("", status_code=201, summary="Make a route")
async def create(body: RouteSettings, store: TheStore, holder: Holder) -> StoredRoute:
    return await store.routes.create(body)


@router.get("/decide", summary="Who would take a call?")
async def decide(
    called: Annotated[str, Query(max_length=80)],
    store: TheStore,
    holder: Holder,
    at: AwareDatetime | None = None,
) -> RouteDecision:
    """Now, or at another time."""
    await store.routing.renew()
    decided = store.routing.decide(called, at)
    return RouteDecision(
        agent=decided.agent.agent if decided.agent else None,
        version=decided.agent.version if decided.agent else None,
        route_id=decided.route_id,
        fallback=decided.fallback,
        reason=decided.reason,
    )


@router.get("/{route_id}", summary="One route")
async def get(route_id: int, store: TheStore, holder: Holder) -> StoredRoute:
    return await store.routes.get(route_id)


@router.put("/{route_id}", summary="Replace a route")
async def replace(
    route_id: int, body: RouteSettings, store: TheStore, holder: Holder
) -> StoredRoute:
    return await store.routes.replace(route_id, body)


@router.delete("/{route_id}", status_code=204, summary="Delete a route")
async def delete(route_id: int, store: TheStore, holder: Holder) -> None:
    await store.routes.delete(route_id)
