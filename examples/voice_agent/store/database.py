"""One database: its engine, its sessions, and whether it can be reached."""

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy import event, make_url, text
from sqlalchemy.engine import URL, ExceptionContext
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)

from examples.voice_agent.store.config import StoreConfig
from examples.voice_agent.store.errors import StoreError

_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}

DATABASE_ERRORS = (
    SQLAlchemyError, OSError, sqlite3.Error, asyncpg.PostgresError, asyncpg.InterfaceError
)  # fmt: skip
"""All that a database raises; those of asyncpg come unwrapped while it connects. A TimeoutError is
an OSError."""


def refuses_value(error: Exception) -> bool:
    """Whether the database is there, but cannot hold a value: NUL in a text, too large a number."""
    cause = getattr(getattr(error, "orig", None), "__cause__", None)
    return isinstance(error, OverflowError) or isinstance(cause, asyncpg.DataError)


class Database:
    """Opens no connection until one is needed. One for each process and event loop."""

    def __init__(self, config: StoreConfig) -> None:
        """Raises StoreError for a URL that names no database that we know."""
        self.config = config
        self.url = store_url(config.url)
        self.engine: AsyncEngine = _engine(self.url, config)
        self.session: async_sessionmaker[AsyncSession] = async_sessionmaker(
            self.engine, expire_on_commit=False
        )

    @property
    def dialect(self) -> str:
        return self.engine.dialect.name

    async def ping(self) -> None:
        """Raises what the driver raises, or TimeoutError."""
        async with asyncio.timeout(self.config.connect_s), self.engine.connect() as connection:
            await connection.execute(text("SELECT 1"))

    async def close(self) -> None:
        await self.engine.dispose()


def store_url(given: str) -> URL:
    """The URL with the driver that we use.

    Raises:
        StoreError: no such database.
    """
    try:
        url = make_url(given)
    except ArgumentError:
        raise StoreError(f"{given!r} is no database URL, such as sqlite:///agent.db") from None
    kind = url.drivername.split("+")[0]
    if kind not in _DRIVERS:
        known = " or ".join(_DRIVERS)
        raise StoreError(f"{kind} is not supported; the URL begins with {known}")
    return url.set(drivername=_DRIVERS[kind])


def prepare_folder(url: URL) -> None:
    """SQLite makes its file, but not the folder that it lies in. Blocks."""
    if url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:"):
        Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)


def _engine(url: URL, config: StoreConfig) -> AsyncEngine:
    if url.get_backend_name() == "sqlite":
        engine = create_async_engine(url, connect_args={"timeout": config.busy_s})
        event.listen(engine.sync_engine, "connect", _set_pragmas)
        return engine
    engine = create_async_engine(
        url,
        pool_size=config.pool,
        max_overflow=0,
        pool_timeout=config.connect_s,
        connect_args={"timeout": config.connect_s, "command_timeout": config.journal.write_s},
    )
    event.listen(engine.sync_engine, "handle_error", _note_disconnect)
    return engine


def _note_disconnect(context: ExceptionContext) -> None:
    # SQLAlchemy would put a connection back whose socket is broken, and leak it.
    if isinstance(context.original_exception, OSError):
        context.is_disconnect = True


def _set_pragmas(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    # Readers and the writer do not wait for each other; a commit survives the process's death.
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()
