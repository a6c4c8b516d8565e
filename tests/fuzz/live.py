"""Both services as they run in production, with engines that need no models, and their log."""

import asyncio
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil
import structlog
from fastapi import FastAPI

import services.asr.app
import services.tts.app
from services.asr.config import ResumeConfig, UploadConfig
from services.shared.models.store import ModelStore
from services.shared.runtime.config import LimitsConfig, ServerConfig
from services.tts.config import (
    EnginesConfig,
    FakeEngineConfig,
    PiperEngineConfig,
    ReferenceConfig,
    TtsConfig,
    VoicesConfig,
)
from services.tts.messages import AudioFinished, Close, End, Start, Text
from tests.fuzz.target import check
from tests.services.asr.client import recognise
from tests.services.asr.conftest import tones
from tests.services.asr.sounds import joined, pcm, silence, tone
from tests.services.serving import LiveService, eventually, serving
from tests.services.tts.client import session

T = TypeVar("T")

GoodSession = Callable[[LiveService], Coroutine[Any, Any, None]]

LONGEST_S = 20.0
"""Of a file that is transcribed."""
_CHECK_EVERY = 100
_MOST_GROWTH = 400 << 20
"""Bytes; the phrase cache, cloned voices and what their clients keep are in the same process."""
_SERVER = ServerConfig(drain_s=0.5)
_LIMITS = LimitsConfig(max_sessions=100, send_s=5.0)
_OURS = {"session failed", "unexpected failure"}
"""What a log says of a fault of ours."""


@dataclass
class Watched:
    """A service, the loop of its clients, and what went wrong in it."""

    service: LiveService
    runner: asyncio.Runner
    good_session: GoodSession
    faults: list[str] = field(default_factory=list)
    tasks: int = 0
    files: int = 0
    memory: int = 0
    tried: int = 0

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.service.address.split(":")
        return host, int(port)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def note(
        self, _logger: object, _method: str, event: structlog.types.EventDict
    ) -> structlog.types.EventDict:
        """A processor of logs: keeps what is a fault of ours, and shows nothing."""
        if event["event"] in _OURS:
            self.faults.append(repr(event))
        raise structlog.DropEvent

    def unharmed(self) -> None:
        """To be called after every input; looks at the whole now and then."""
        self.tried += 1
        check(not self.faults, f"in the service's log: {self.faults}")
        check(not self.service.faults, f"on the service's loop: {self.service.faults}")
        if self.tried % _CHECK_EVERY == 0:
            self.run(self.idle_again())

    async def idle_again(self) -> None:
        """A good session works, and nothing is left of the bad ones."""
        await self.good_session(self.service)
        try:
            await eventually(lambda: self.service.lifecycle.sessions == 0, 20.0)
            await eventually(lambda: self.service.tasks() <= self.tasks + 2, 20.0)
            await eventually(lambda: _open_files() <= self.files + 8, 20.0)
        except TimeoutError:
            left = f"{self.service.lifecycle.sessions} sessions"
            left += f", {self.service.tasks()} tasks (at first {self.tasks})"
            check(False, f"{left}, {_open_files()} files (at first {self.files}) are left")
        grown = psutil.Process().memory_info().rss - self.memory
        check(grown < _MOST_GROWTH, f"{grown >> 20} MiB more than at first")


@contextmanager
def asr() -> Iterator[Watched]:
    """The ASR service, whose engine hears tones."""
    config = tones(
        limits=_LIMITS,
        server=_SERVER,
        resume=ResumeConfig(window_s=2.0),
        upload=UploadConfig(max_bytes=1 << 20, max_duration_s=LONGEST_S),
    )
    with _watched(services.asr.app.create_app(config, ModelStore()), _heard) as watched:
        yield watched


@contextmanager
def tts() -> Iterator[Watched]:
    """The TTS service, whose engine speaks tones and clones voices."""
    with tempfile.TemporaryDirectory() as folder:
        config = TtsConfig(
            limits=_LIMITS,
            server=_SERVER,
            engines=EnginesConfig(
                piper=PiperEngineConfig(enabled=False),
                fake=FakeEngineConfig(enabled=True, cloning=True),
            ),
            voices=VoicesConfig(
                store=str(Path(folder) / "voices"),
                reference=ReferenceConfig(vad="energy"),
            ),
        )
        app = services.tts.app.create_app(config, ModelStore())
        with _watched(app, _spoken) as watched:
            yield watched


@contextmanager
def _watched(app: FastAPI, good_session: GoodSession) -> Iterator[Watched]:
    before = structlog.get_config()
    with serving(app, _LIMITS, _SERVER) as service, asyncio.Runner() as runner:
        watched = Watched(service, runner, good_session)
        structlog.configure(processors=[watched.note])
        try:
            watched.run(watched.good_session(service))
            watched.tasks, watched.files = service.tasks(), _open_files()
            watched.memory = psutil.Process().memory_info().rss
            yield watched
            watched.run(watched.idle_again())
            check(not service.faults, f"on the service's loop: {service.faults}")
        finally:
            structlog.configure(**before)


def _open_files() -> int:
    """Sockets, too."""
    return psutil.Process().num_fds()


async def _heard(service: LiveService) -> None:
    caller = await recognise(service.ws, pcm(joined(tone(400, 1000), silence(200))))
    check(caller.text.split()[:5] == ["w4"] * 5, f"a good session heard {caller.text!r}")


async def _spoken(service: LiveService) -> None:
    async with session(service.ws) as speaker:
        await speaker.send(Start(), Text(text="Good morning."), End(), Close())
        check(await speaker.closed() == 1000, "a good session was not closed well")
        check(len(speaker.all(AudioFinished)) == 1, "a good session was not spoken to")
