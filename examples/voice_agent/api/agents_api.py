"""`/v1/agents`."""

from collections.abc import Sequence

from fastapi import APIRouter

from examples.voice_agent.api.access import Holder, KeyedRoute, TheStore
from examples.voice_agent.api.messages import AgentVersionTold, NewAgent

router = APIRouter(prefix="/v1/agents", tags=["agents"], route_class=KeyedRoute)


@router.post("", status_code=201, summary="Make an agent, or a new version of one")
async def create(body: NewAgent, store: TheStore, holder: Holder) -> AgentVersionTold:
    """A configuration that equals the newest version's makes none: that version is told."""
    made = await store.agents.create(body.config, note=body.note, author=holder)
    return AgentVersionTold.of(made)


@router.get("", summary="The newest version of every agent")
async def newest(store: TheStore, holder: Holder) -> Sequence[AgentVersionTold]:
    return [AgentVersionTold.of(version) for version in await store.agents.newest()]


@router.get("/{agent}", summary="The newest version of an agent")
async def get(agent: str, store: TheStore, holder: Holder) -> AgentVersionTold:
    return AgentVersionTold.of(await store.agents.get(agent))


@router.get("/{agent}/versions", summary="The last hundred versions, the newest first")
async def versions(agent: str, store: TheStore, holder: Holder) -> Sequence[AgentVersionTold]:
    return [AgentVersionTold.of(version) for version in await store.agents.versions(agent)]


@router.get("/{agent}/versions/{version}", summary="One version of an agent")
async def get_version(
    agent: str, version: int, store: TheStore, holder: Holder
) -> AgentVersionTold:
    return AgentVersionTold.of(await store.agents.get(agent, version))
