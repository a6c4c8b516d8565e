"""Writes rows into the database: many in a transaction, and each only once."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import asyncpg
import structlog
from sqlalchemy import Table, bindparam, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    StatementError,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from examples.voice_agent.store.database import DATABASE_ERRORS, Database
from examples.voice_agent.store.models import Base
from examples.voice_agent.store.records import Row

log = structlog.get_logger(__name__)


class DatabaseAway(Exception):
    """It cannot be written to right now; what was to be written may or may not be in it."""


class RowWriter:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._limit_s = database.config.journal.write_s
        self._insert: Any = postgresql.insert if database.dialect == "postgresql" else sqlite.insert

    async def write(self, rows: Sequence[Row]) -> int:
        """Write all that can be written, and tell how many rows the database will never take.

        Raises:
            DatabaseAway: try again later.
        """
        try:
            async with asyncio.timeout(self._limit_s):
                await self._write(rows)
            return 0
        except DATABASE_ERRORS as error:
            if not _is_about_a_row(error):
                raise DatabaseAway(_brief(error)) from error
        return sum([await self._write_alone(row) for row in rows])

    async def _write_alone(self, row: Row) -> int:
        try:
            async with asyncio.timeout(self._limit_s):
                await self._write([row])
            return 0
        except DATABASE_ERRORS as error:
            if not _is_about_a_row(error):
                raise DatabaseAway(_brief(error)) from error
            key = row.values.get("conversation_id") or row.values.get("id")
            log.error("row refused", table=row.table, conversation=key, error=_brief(error))
            return 1

    async def _write(self, rows: Sequence[Row]) -> None:
        inserts: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in rows:
            if not row.update:
                inserts[row.table].append(row.values)
        async with self._database.engine.begin() as connection:
            # Conversations first: all others refer to them.
            for name in sorted(inserts, key=lambda table: table != "conversations"):
                statement = self._insert(_table(name)).on_conflict_do_nothing()
                await connection.execute(statement, inserts[name])
            for row in rows:
                if row.update:
                    await _update(connection, row)


async def _update(connection: AsyncConnection, row: Row) -> None:
    table = _table(row.table)
    values = {name: value for name, value in row.values.items() if name != "id"}
    statement = update(table).where(table.c.id == bindparam("the_id")).values(values)
    await connection.execute(statement, {"the_id": row.values["id"]})


def _table(name: str) -> Table:
    return Base.metadata.tables[name]


def _is_about_a_row(error: Exception) -> bool:
    """The database works, and does not want this."""
    if isinstance(error, IntegrityError | DataError):
        return True
    if not isinstance(error, DBAPIError):
        return isinstance(error, StatementError)
    # SQLAlchemy has no name for many of asyncpg's errors, such as "starting up" or a wrong type.
    cause = error.orig.__cause__ if error.orig else None
    return isinstance(cause, asyncpg.DataError | asyncpg.IntegrityConstraintViolationError)


def _brief(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:300] or type(error).__name__
