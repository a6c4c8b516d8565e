"""A service's life: starting → ready → draining → stopped, and who may come in."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from enum import StrEnum
from itertools import takewhile
from typing import NoReturn, Protocol

import structlog
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from services.shared.protocol.base import ErrorCode, ProtocolError
from services.shared.runtime.auth import KeyRing
from services.shared.runtime.config import LimitsConfig
from services.shared.runtime.metrics import ServiceMetrics
from services.shared.runtime.state_metrics import watch_state

log = structlog.get_logger(__name__)

LAST_WORDS_S = 20.0
"""What sessions get beyond the drain for what they owe: a final, the end of what is being said."""
_GOODBYE_S = 5.0
_LINGER_S = 2.0
"""Who lost its connection at the moment of its last words comes back for them within a second."""
HANG_S = 60.0
"""A batch that runs longer than this is taken for hung: liveness fails, the supervisor restarts."""


class Phase(StrEnum):
    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    FAILED = "failed"


class ModelOwner(Protocol):
    """What the lifecycle needs of a scheduler."""

    name: str

    def busy_for(self) -> float: ...


class Lifecycle:
    """Holds the phase, counts the sessions and decides on admission."""

    def __init__(self, limits: LimitsConfig, keys: KeyRing, registry: CollectorRegistry) -> None:
        self.limits = limits
        self.keys = keys
        self.metrics = ServiceMetrics(registry)
        self.phase = Phase.STARTING
        self.failure: str | None = None
        self.owners: list[ModelOwner] = []
        self.checks: list[Callable[[], str | None]] = []
        """Each says why something cannot serve just now; None: it can."""
        self.gates: list[Callable[[], None]] = []
        """Each raises ProtocolError `overloaded` when nobody new should come in."""
        self.draining = asyncio.Event()
        """Set when nobody new can come in any more; who has a session may come back to it."""
        self.closing = asyncio.Event()
        """Set when sessions that outlived the drain must come to their end."""
        self.failed = asyncio.Event()
        self.ready = asyncio.Event()
        """The models are loaded and warm; stays set while draining."""
        self._begun: dict[object, float] = {}
        """When each session that is there came in, oldest first."""
        watch_state(registry, self, tuple(Phase))
        self._idle = asyncio.Event()
        self._idle.set()
        self._stays_until = 0.0

    @property
    def max_sessions(self) -> int:
        return self.limits.max_sessions

    @property
    def sessions(self) -> int:
        return len(self._begun)

    def newcomers(self, within_s: float) -> int:
        """How many of the sessions are younger than this."""
        since = time.monotonic() - within_s
        newest_first = reversed(self._begun.values())
        return sum(1 for _ in takewhile(lambda begun: begun > since, newest_first))

    def hung(self) -> list[str]:
        return [owner.name for owner in self.owners if owner.busy_for() > HANG_S]

    def troubles(self) -> list[str]:
        """Why a service that has started should get no new sessions for now."""
        return [trouble for check in self.checks if (trouble := check())]

    @contextlib.contextmanager
    def admit(self) -> Iterator[None]:
        """Count one session or request in and out.

        Raises:
            ProtocolError: `overloaded` or `shutting_down`; the caller answers 503 + Retry-After.
        """
        self.check_open()
        for gate in self.gates:
            self._pass(gate)
        if self.sessions >= self.limits.max_sessions:
            sentence = f"all {self.limits.max_sessions} sessions are taken; try again shortly"
            self._refuse(ErrorCode.OVERLOADED, sentence)
        session = object()
        self._begun[session] = time.monotonic()
        self._idle.clear()
        self.metrics.sessions.set(self.sessions)
        self.metrics.sessions_total.inc()
        try:
            yield
        finally:
            del self._begun[session]
            self.metrics.sessions.set(self.sessions)
            if not self._begun:
                self._idle.set()

    def check_open(self) -> None:
        """Raises ProtocolError `overloaded` or `shutting_down` unless the service is at work."""
        if self.phase is Phase.STARTING:
            self._refuse(ErrorCode.OVERLOADED, "the service is still loading its models")
        if self.phase is not Phase.READY:
            self._refuse(ErrorCode.SHUTTING_DOWN, "the service is shutting down")

    def check_running(self) -> None:
        """May somebody come back to a session? As :meth:`check_open`, but for the drain."""
        if self.phase is not Phase.DRAINING or self.closing.is_set():
            self.check_open()

    def _pass(self, gate: Callable[[], None]) -> None:
        try:
            gate()
        except ProtocolError as refusal:
            self.metrics.refused.labels(refusal.code.value).inc()
            raise

    def _refuse(self, reason: ErrorCode, sentence: str) -> NoReturn:
        self.metrics.refused.labels(reason.value).inc()
        raise ProtocolError(reason, sentence)

    def fail(self, error: BaseException) -> None:
        self.phase = Phase.FAILED
        self.failure = f"{type(error).__name__}: {error}"
        self.failed.set()

    def may_be_asked_again(self) -> None:
        """A session has ended whose last words may not have been heard: stay for a moment."""
        self._stays_until = time.monotonic() + _LINGER_S

    async def drain(self, limit_s: float) -> None:
        """Refuse new sessions, let the live ones finish, then ask the rest to leave.

        Sessions see `draining`, in which they go as soon as nothing is lost by it, and `closing`,
        from which on they have `LAST_WORDS_S` to say what they owe.
        """
        if self.phase is not Phase.FAILED:
            self.phase = Phase.DRAINING
        self.draining.set()
        log.info("draining", sessions=self.sessions, limit_s=limit_s)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._idle.wait()
                while (left_s := self._stays_until - time.monotonic()) > 0:  # noqa: ASYNC110
                    await asyncio.sleep(left_s)
        self.closing.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_S + _GOODBYE_S):
                await self._idle.wait()


Loader = Callable[[], Awaitable[None]]


@contextlib.asynccontextmanager
async def running(lifecycle: Lifecycle, load: Loader, unload: Loader) -> AsyncIterator[None]:
    """The lifespan of a service: load in the background so that liveness answers meanwhile."""

    async def start() -> None:
        try:
            await load()
        except Exception as error:  # noqa: BLE001 - any failure to load ends the process with its reason
            log.error("models could not be loaded", error=str(error))
            lifecycle.fail(error)
        else:
            if lifecycle.phase is Phase.STARTING:  # else it was told to stop meanwhile
                lifecycle.phase = Phase.READY
                lifecycle.ready.set()
                log.info("ready")

    async with asyncio.TaskGroup() as group:
        loading = group.create_task(start())
        following = group.create_task(lifecycle.keys.watch())
        watching = group.create_task(lifecycle.metrics.watch_loop())
        try:
            yield
        finally:
            loading.cancel()
            watching.cancel()
            following.cancel()
            await unload()


def lifecycle_of(app: FastAPI) -> Lifecycle:
    lifecycle = app.state.lifecycle
    assert isinstance(lifecycle, Lifecycle)
    return lifecycle
