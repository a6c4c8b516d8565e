"""The scripts make what the models say, once, whoever else starts at the same time."""

import asyncio

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from examples.voice_agent.store.config import StoreConfig
from examples.voice_agent.store.database import Database
from examples.voice_agent.store.errors import StoreError
from examples.voice_agent.store.migrate import current_revision, newest_revision, upgrade
from examples.voice_agent.store.models import Base


async def test_the_scripts_make_the_models_tables(database: Database) -> None:
    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, Base.metadata))

    async with database.engine.connect() as connection:
        assert await connection.run_sync(differences) == []
    assert await current_revision(database) == newest_revision()


async def test_programs_that_start_together_wait_for_each_other(config: StoreConfig) -> None:
    databases = [Database(config) for _ in range(3)]
    await asyncio.gather(*(upgrade(each) for each in databases))
    assert await current_revision(databases[0]) == newest_revision()
    for each in databases:
        await each.close()


async def test_a_database_from_the_future_is_left_alone(database: Database) -> None:
    async with database.engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreError, match="newer than this program"):
        await upgrade(database)


@pytest.mark.parametrize(
    "deed", ["UPDATE agent_versions SET note = 'b'", "DELETE FROM agent_versions"]
)
async def test_the_database_itself_refuses_to_change_a_version(
    database: Database, deed: str
) -> None:
    async with database.engine.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO agent_versions (agent, version, config, digest, note, author,"
                " created_at) VALUES ('a', 1, '{}', '', 'a', '', '2026-01-01 00:00:00')"
            )
        )
    with pytest.raises(DBAPIError, match="never changed"):
        async with database.engine.begin() as connection:
            await connection.execute(text(deed))


async def test_what_is_no_database_is_told_so(config: StoreConfig) -> None:
    with pytest.raises(StoreError, match="mysql is not supported"):
        Database(config.model_copy(update={"url": "mysql://here/agent"}))
    with pytest.raises(StoreError, match="no database URL"):
        Database(config.model_copy(update={"url": "nonsense"}))


async def test_an_unreachable_database_is_told_so(config: StoreConfig) -> None:
    away = Database(config.model_copy(update={"url": "postgresql://voice@127.0.0.1:1/agent"}))
    with pytest.raises(StoreError, match="cannot be brought up to date"):
        await upgrade(away)
