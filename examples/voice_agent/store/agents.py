"""Agents: every change makes a new version, and versions never change."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog
from pydantic import ValidationError
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from examples.voice_agent.config import AgentConfig
from examples.voice_agent.secrets import named_secrets, refused
from examples.voice_agent.store.database import Database
from examples.voice_agent.store.errors import StoreError
from examples.voice_agent.store.models import AgentVersionRow
from services.shared.protocol.codec import describe

log = structlog.get_logger(__name__)

_ATTEMPTS = 5


class ForbiddenSecret(StoreError):
    """A configuration names an environment variable that agents may not read."""


class UnknownAgent(StoreError):
    """No such agent or version."""


@dataclass(frozen=True, slots=True)
class AgentVersion:
    id: int
    version: int
    """Counts from 1 for each agent."""
    config: AgentConfig
    note: str
    author: str
    created_at: datetime

    @property
    def agent(self) -> str:
        return self.config.name


class Agents:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(
        self, config: AgentConfig, *, note: str = "", author: str = ""
    ) -> AgentVersion:
        """Store a version; the newest one itself when nothing has changed.

        Raises:
            ForbiddenSecret: it names secrets that are not for agents.
            StoreError: too many others did the same at the same time.
        """
        _check_secrets(config)
        for _ in range(_ATTEMPTS):
            try:
                async with self._database.session.begin() as session:
                    return await self._create(session, config, note, author)
            except IntegrityError:
                continue  # somebody else took the number
        raise StoreError(f"agent {config.name} is being changed by others; try again")

    async def get(self, agent: str, version: int | None = None) -> AgentVersion:
        """The newest version, or a certain one.

        Raises:
            UnknownAgent: there is none.
        """
        async with self._database.session() as session:
            row = await _find(session, agent, version)
        if row is None:
            what = agent if version is None else f"{agent} version {version}"
            raise UnknownAgent(f"there is no agent {what}")
        return agent_version(row)

    async def by_id(self, version_id: int) -> AgentVersion:
        """Raises UnknownAgent."""
        async with self._database.session() as session:
            row = await session.get(AgentVersionRow, version_id)
        if row is None:
            raise UnknownAgent(f"there is no agent version with id {version_id}")
        return agent_version(row)

    async def newest(self) -> Sequence[AgentVersion]:
        """The newest version of every agent, by name; without those that cannot be understood."""
        newest = (
            select(func.max(AgentVersionRow.id)).group_by(AgentVersionRow.agent).scalar_subquery()
        )
        query = select(AgentVersionRow).where(AgentVersionRow.id.in_(newest))
        async with self._database.session() as session:
            rows = await session.scalars(query.order_by(AgentVersionRow.agent))
            found = [_understood(row) for row in rows]
        return [version for version in found if version is not None]

    async def versions(self, agent: str, *, limit: int = 100) -> Sequence[AgentVersion]:
        """The newest first. Raises UnknownAgent."""
        query = select(AgentVersionRow).where(AgentVersionRow.agent == agent)
        query = query.order_by(AgentVersionRow.version.desc()).limit(limit)
        async with self._database.session() as session:
            found = [agent_version(row) for row in await session.scalars(query)]
        if not found:
            raise UnknownAgent(f"there is no agent {agent}")
        return found

    async def _create(
        self, session: AsyncSession, config: AgentConfig, note: str, author: str
    ) -> AgentVersion:
        newest = await _find(session, config.name, None)
        fields = config.model_dump(mode="json")
        digest = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
        if newest is not None and newest.digest == digest:
            return agent_version(newest)
        row = AgentVersionRow(
            agent=config.name,
            version=1 if newest is None else newest.version + 1,
            config=fields,
            digest=digest,
            note=note,
            author=author,
            created_at=datetime.now(UTC),
        )
        session.add(row)
        await session.flush()
        return agent_version(row)


def _check_secrets(config: AgentConfig) -> None:
    """Here and not in the configuration itself: versions that are stored stay readable."""
    for name in named_secrets(config.model_dump()):
        if (refusal := refused(name)) is not None:
            raise ForbiddenSecret(f"agent {config.name}: {refusal}")


def agent_version(row: AgentVersionRow) -> AgentVersion:
    """Raises StoreError for a configuration that this program does not understand."""
    try:
        config = AgentConfig.model_validate(row.config)
    except ValidationError as error:
        raise StoreError(
            f"agent {row.agent} version {row.version} was made for another version of this "
            f"program: {describe(error)}"
        ) from None
    return AgentVersion(row.id, row.version, config, row.note, row.author, row.created_at)


def _understood(row: AgentVersionRow) -> AgentVersion | None:
    try:
        return agent_version(row)
    except StoreError as error:
        log.error("agent left out", error=str(error))
        return None


async def _find(session: AsyncSession, agent: str, version: int | None) -> AgentVersionRow | None:
    query = select(AgentVersionRow).where(AgentVersionRow.agent == agent)
    if version is not None:
        query = query.where(AgentVersionRow.version == version)
    found = await session.scalars(query.order_by(AgentVersionRow.version.desc()).limit(1))
    return found.first()
