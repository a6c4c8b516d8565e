"""The service under test: one that we start for the length of a benchmark, or any that runs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from services.cli.processes import ServiceName, ServiceProcess, running


@dataclass(frozen=True, slots=True)
class Service:
    """Where a service answers; `pid` only when it is ours."""

    http_url: str
    pid: int | None = None
    startup_s: float | None = None

    @property
    def ws_url(self) -> str:
        return "ws" + self.http_url.removeprefix("http")


@asynccontextmanager
async def running_asr(config: Path | None, sessions: int, log: Path) -> AsyncIterator[Service]:
    """Start `services.asr` on a free port with room for so many sessions, stop it at the end.

    Raises:
        ServiceFailed: it ended, or was not ready in time.
    """
    async with _running("asr", config, sessions, log) as service:
        yield service


@asynccontextmanager
async def running_tts(config: Path | None, sessions: int, log: Path) -> AsyncIterator[Service]:
    """Likewise `services.tts`.

    Raises:
        ServiceFailed: it ended, or was not ready in time.
    """
    async with _running("tts", config, sessions, log) as service:
        yield service


@asynccontextmanager
async def _running(
    name: ServiceName, config: Path | None, sessions: int, log: Path
) -> AsyncIterator[Service]:
    with log.open("w", encoding="utf-8") as lines:
        process = ServiceProcess(
            name,
            config=config,
            environment={f"{name.upper()}__LIMITS__MAX_SESSIONS": str(sessions)},
            on_line=lambda line: print(line, file=lines, flush=True),
        )
        async with running(process):
            assert process.startup_s is not None
            yield Service(process.http_url, process.pid, round(process.startup_s, 2))
