"""Inbound routes: which agent takes the calls to which numbers."""

from collections.abc import Sequence
from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from examples.voice_agent.did_pattern import DidPattern
from examples.voice_agent.routes import Route
from examples.voice_agent.schedule import Schedule
from examples.voice_agent.store.agents import UnknownAgent
from examples.voice_agent.store.database import Database
from examples.voice_agent.store.errors import StoreError
from examples.voice_agent.store.models import AgentVersionRow, InboundRouteRow
from services.shared.protocol.codec import describe


class UnknownRoute(StoreError):
    pass


class RouteExists(StoreError):
    """There is a route with this pattern and priority."""


class RouteSettings(BaseModel):
    """A route as it is given."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pattern: str = Field(examples=["_1555XXXXXXX"])
    """Of the dialled number, as in Asterisk's dial plan."""
    agent: str = Field(min_length=1, max_length=100)
    version: int | None = Field(default=None, ge=1)
    """None: the newest one when the call comes."""
    priority: int = Field(default=100, ge=0, le=1_000_000)
    """Lower ones are asked first."""
    schedule: Schedule = Schedule()
    fallback: str | None = Field(default=None, min_length=1, max_length=80)
    enabled: bool = True
    note: str = Field(default="", max_length=1000)

    @field_validator("pattern")
    @classmethod
    def _is_pattern(cls, value: str) -> str:
        return DidPattern.parse(value).text


class StoredRoute(RouteSettings):
    id: int
    updated_at: datetime

    def route(self) -> Route:
        """As the matcher knows it."""
        return Route(
            id=self.id,
            pattern=DidPattern.parse(self.pattern),
            agent=self.agent,
            version=self.version,
            priority=self.priority,
            schedule=self.schedule,
            fallback=self.fallback,
            enabled=self.enabled,
        )


class InboundRoutes:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self) -> Sequence[StoredRoute]:
        """In the order in which they are asked, but for patterns of one priority."""
        query = select(InboundRouteRow).order_by(InboundRouteRow.priority, InboundRouteRow.pattern)
        async with self._database.session() as session:
            return [stored_route(row) for row in await session.scalars(query)]

    async def get(self, route_id: int) -> StoredRoute:
        """Raises UnknownRoute."""
        async with self._database.session() as session:
            return stored_route(await _row(session, route_id))

    async def create(self, settings: RouteSettings) -> StoredRoute:
        """Raises RouteExists, UnknownAgent."""
        return await self._write(InboundRouteRow(), settings)

    async def replace(self, route_id: int, settings: RouteSettings) -> StoredRoute:
        """Raises UnknownRoute, RouteExists, UnknownAgent."""
        async with self._database.session() as session:
            row = await _row(session, route_id)
        return await self._write(row, settings)

    async def delete(self, route_id: int) -> None:
        """Raises UnknownRoute."""
        statement = delete(InboundRouteRow).where(InboundRouteRow.id == route_id)
        async with self._database.session.begin() as session:
            await _row(session, route_id)
            await session.execute(statement)

    async def _write(self, row: InboundRouteRow, settings: RouteSettings) -> StoredRoute:
        fields = settings.model_dump(mode="json")
        for name in RouteSettings.model_fields:
            setattr(row, name, fields[name])
        row.updated_at = datetime.now(UTC)
        try:
            async with self._database.session.begin() as session:
                await _require_agent(session, settings.agent, settings.version)
                session.add(row)
                await session.flush()
                return stored_route(row)
        except IntegrityError:
            raise RouteExists(
                f"there is a route for {settings.pattern} with priority {settings.priority} already"
            ) from None


def stored_route(row: InboundRouteRow) -> StoredRoute:
    """Raises StoreError for what this program does not understand."""
    names = StoredRoute.model_fields
    try:
        return StoredRoute.model_validate({name: getattr(row, name) for name in names})
    except ValidationError as error:
        raise StoreError(f"route {row.id} cannot be understood: {describe(error)}") from None


async def _row(session: AsyncSession, route_id: int) -> InboundRouteRow:
    row = await session.get(InboundRouteRow, route_id)
    if row is None:
        raise UnknownRoute(f"there is no route {route_id}")
    return row


async def _require_agent(session: AsyncSession, agent: str, version: int | None) -> None:
    query = select(AgentVersionRow.id).where(AgentVersionRow.agent == agent).limit(1)
    if version is not None:
        query = query.where(AgentVersionRow.version == version)
    if (await session.scalars(query)).first() is None:
        what = agent if version is None else f"{agent} version {version}"
        raise UnknownAgent(f"there is no agent {what}")
