"""Watches how late finals are, and says what is given up for their sake."""

import asyncio
import math
from collections.abc import Sequence
from typing import Any, Protocol

import structlog

from services.asr.config import AdmissionConfig
from services.asr.degradation import Degradation, Level
from services.asr.metrics import AsrMetrics
from services.shared.protocol.base import ErrorCode, ProtocolError
from services.shared.runtime.scheduler import Scheduler

log = structlog.get_logger(__name__)

_EVERY_S = 0.1
_PATIENCE_S = 1.0
"""How often a file asks whether it may go on."""

_SETTLE_S = 3.0
"""Until the load of somebody new shows: longer than all steps of the degradation need."""

_Schedulers = Sequence[Scheduler[Any, Any]]


class Census(Protocol):
    """Who is there; a :class:`.Lifecycle` knows."""

    @property
    def sessions(self) -> int: ...

    def newcomers(self, within_s: float) -> int:
        """Sessions younger than this."""


class _Nobody:
    sessions = 0

    def newcomers(self, within_s: float) -> int:
        return 0


class Overload:
    """The service's present level of degradation.

    Args:
        decoders: of the engines that stand in for each other.
        before: what every final goes through, too.
    """

    def __init__(
        self,
        config: AdmissionConfig,
        decoders: _Schedulers,
        before: _Schedulers,
        metrics: AsrMetrics,
    ) -> None:
        self.census: Census = _Nobody()
        self._newcomers = config.newcomers
        self._enabled = config.enabled
        self._degradation = Degradation(config.limits)
        self._decoders = decoders
        self._before = before
        self._metrics = metrics
        self._late_s = 0.0

    @property
    def level(self) -> Level:
        return self._degradation.level

    @property
    def refuses(self) -> bool:
        """Nobody new is let in."""
        return self.level is Level.REFUSING and self.census.sessions > 0

    async def watch(self) -> None:
        """Look again and again, for ever; run as a task."""
        loop = asyncio.get_running_loop()
        while self._enabled:
            due = loop.time() + _EVERY_S
            await asyncio.sleep(_EVERY_S)
            now = loop.time()
            self.look(lag_s=max(0.0, now - due), now=now)

    def look(self, lag_s: float, now: float) -> None:
        """Once. `lag_s`: how late the event loop is, which every final waits for, too."""
        before = self.level
        decoders_s = max((each.late_s() for each in self._decoders), default=0.0)
        self._late_s = lag_s + decoders_s + sum(each.late_s() for each in self._before)
        occupied = max((each.occupied() for each in self._decoders), default=0.0)
        sessions = self.census.sessions
        one_more = occupied * (sessions + 1) / sessions if sessions else occupied
        level = self._degradation.observe(self._late_s, one_more, now)
        self._metrics.late_s.set(self._late_s)
        self._metrics.occupied.set(occupied)
        self._metrics.degradation.set(level)
        if level is not before:
            log.warning(
                "overload" if level > before else "overload is easing",
                given_up=level.name.lower(),
                late_s=round(self._late_s, 2),
                occupied=round(occupied, 2),
                sessions=sessions,
            )

    def check(self) -> None:
        """May somebody come in? Always when nobody is there: then lateness is of the past.

        Raises:
            ProtocolError: `overloaded`, with the time after which a retry may help.
        """
        if self._enabled:
            self._check_ramp()
        if self.refuses:
            raise ProtocolError(
                ErrorCode.OVERLOADED,
                f"{self._sentence()}; try again shortly, or another instance",
                retry_after_s=self._degradation.retry_after_s,
            )

    def _check_ramp(self) -> None:
        """Lateness shows only when those who came are speaking; till then their number must do."""
        new = self.census.newcomers(_SETTLE_S)
        if new >= max(self._newcomers, self.census.sessions - new):
            raise ProtocolError(
                ErrorCode.OVERLOADED,
                f"{new} came in within {_SETTLE_S:g} s; try again shortly, or another instance",
                retry_after_s=math.ceil(_SETTLE_S),
            )

    def trouble(self) -> str | None:
        """For the readiness answer."""
        return f"overloaded: {self._sentence()}" if self.refuses else None

    def _sentence(self) -> str:
        return f"finals are about {self._late_s:.1f} s late"

    async def while_only_finals(self) -> None:
        """Wait while finals are all that is decoded; whoever waits limits the time."""
        while self.level >= Level.FINALS_ONLY:  # noqa: ASYNC110 - files may be a second late
            await asyncio.sleep(_PATIENCE_S)
