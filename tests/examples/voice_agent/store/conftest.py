"""Databases for tests: SQLite always, a PostgreSQL of our own where its programs are installed."""

import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from examples.voice_agent.store.config import JournalConfig, RecordingConfig, StoreConfig
from examples.voice_agent.store.database import Database
from examples.voice_agent.store.migrate import upgrade

SKIPPED = "PostgreSQL's server programs are not installed (Debian: apt install postgresql)"


@pytest.fixture(
    params=["sqlite", pytest.param("postgres", marks=[pytest.mark.slow, pytest.mark.postgres])]
)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/data/agent.db"
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return server.new_database()


@pytest.fixture
def config(url: str, tmp_path: Path) -> StoreConfig:
    return StoreConfig(
        url=url,
        journal=JournalConfig(spool=tmp_path / "spool", retry_s=0.1, linger_s=0.01, write_s=5),
        recording=RecordingConfig(folder=tmp_path / "recordings"),
    )


@pytest.fixture
async def database(config: StoreConfig) -> AsyncIterator[Database]:
    """Migrated and empty."""
    opened = Database(config)
    await upgrade(opened)
    yield opened
    await opened.close()


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator["PostgresServer"]:
    programs = _programs()
    if programs is None:
        pytest.skip(SKIPPED)
    server = PostgresServer(programs, tmp_path_factory.mktemp("postgres"))
    server.start()
    yield server
    server.stop()


class PostgresServer:
    """A cluster of its own in a folder, on a port of its own; it refuses to run as root."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs = programs
        self._user = "postgres" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
        self._folder = folder / "cluster"
        self._databases = 0
        self._process: subprocess.Popen[bytes] | None = None
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._folder.mkdir()
        if os.getuid() == 0:
            shutil.chown(self._folder, self._user, self._user)
            for parent in self._folder.parents:
                if not (mode := parent.stat().st_mode) & 0o001:
                    parent.chmod(mode | 0o011)
        self._run("initdb", "-D", str(self._folder), "-A", "trust", "-U", "voice", "-E", "UTF8")

    def start(self) -> None:
        """Tries again when somebody has the port for a moment."""
        command = self._command(
            *("postgres", "-D", str(self._folder), "-p", str(self.port)),
            *("-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="),
            *("-c", "fsync=off"),
        )
        deadline = time.monotonic() + 40
        with (self._folder.parent / "log").open("ab") as log:
            while time.monotonic() < deadline:
                self._process = subprocess.Popen(command, stdout=log, stderr=log, user=self._uid())
                if self._is_up(self._process, deadline):
                    return
        raise TimeoutError((self._folder.parent / "log").read_text())

    def stop(self) -> None:
        """At once, as when the machine died."""
        if self._process is not None:
            self._process.send_signal(3)  # SIGQUIT
            self._process.wait(timeout=20)
            self._process = None

    def new_database(self) -> str:
        self._databases += 1
        name = f"agent{self._databases}"
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "voice", name)
        return f"postgresql://voice@127.0.0.1:{self.port}/{name}"

    def _command(self, program: str, *arguments: str) -> list[str]:
        return [str(self._programs / program), *arguments]

    def _uid(self) -> int | None:
        return pwd.getpwnam(self._user).pw_uid if os.getuid() == 0 else None

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            self._command(program, *arguments),
            check=True,
            capture_output=True,
            timeout=60,
            user=self._uid(),
            cwd="/",
        )

    def _is_up(self, process: "subprocess.Popen[bytes]", deadline: float) -> bool:
        asking = self._command("pg_isready", "-h", "127.0.0.1", "-p", str(self.port))
        while process.poll() is None and time.monotonic() < deadline:
            asked = subprocess.run(asking, capture_output=True, timeout=10, check=False)
            if asked.returncode == 0:
                return True
            time.sleep(0.1)
        time.sleep(0.5)
        return False


def _programs() -> Path | None:
    """The newest installed server's folder of programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if found:
        return found[-1].parent
    on_path = shutil.which("postgres")
    return Path(on_path).resolve().parent if on_path else None


async def count(database: Database, table: str) -> int:
    """Rows of a table."""
    async with database.engine.connect() as connection:
        found = await connection.execute(text(f"SELECT count(*) FROM {table}"))
        return int(found.scalar_one())
