"""Brings a database up to date. Programs that start at the same time wait for each other."""

import asyncio
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from examples.voice_agent.store.database import (
    DATABASE_ERRORS,
    Database,
    prepare_folder,
)
from examples.voice_agent.store.errors import StoreError

_SCRIPTS = Path(__file__).with_name("migrations")
_LOCK = 0x766F696365
"""Any number that nobody else uses as a lock in this database."""
_UPGRADE_S = 300.0


def newest_revision() -> str:
    """That of the scripts. Reads files."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None
    return head


async def current_revision(database: Database) -> str | None:
    """That of the database; None: it is empty. Raises what the driver raises."""
    async with asyncio.timeout(database.config.connect_s), database.engine.connect() as connection:
        return await connection.run_sync(
            lambda it: MigrationContext.configure(it).get_current_revision()
        )


async def upgrade(database: Database) -> str:
    """Run the scripts that the database lacks, all or none, and tell its revision.

    Raises:
        StoreError: it cannot be reached or changed, or is newer than this program.
    """
    try:
        await asyncio.to_thread(prepare_folder, database.url)
        async with asyncio.timeout(_UPGRADE_S), database.engine.connect() as connection:
            await connection.run_sync(_upgrade)
            await connection.commit()
    except DATABASE_ERRORS as error:
        raise StoreError(f"the database cannot be brought up to date: {error}") from error
    return await asyncio.to_thread(newest_revision)


def _upgrade(connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    found = MigrationContext.configure(connection).get_current_revision()
    if found is not None and found not in known:
        raise StoreError(f"the database's revision {found} is newer than this program")
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    return config
