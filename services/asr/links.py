"""The sessions that can be resumed: who they belong to, how many wait, and for how long."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from services.asr.config import ResumeConfig
from services.asr.fair_places import to_be_displaced
from services.asr.metrics import AsrMetrics
from services.shared.protocol.base import ErrorCode, ProtocolError
from services.shared.runtime.connection import ClientGone, Connection
from services.shared.runtime.lifecycle import Lifecycle


class Resumable(Protocol):
    """What the register needs to know of a link."""

    @property
    def session_id(self) -> str: ...

    @property
    def holder(self) -> bytes | None:
        """Whose key opened the session."""

    async def carry_on(self, connection: Connection, last_event: int) -> None: ...


@dataclass(frozen=True, slots=True, eq=False)
class _Parked:
    holder: bytes | None
    displaced: asyncio.Event = field(default_factory=asyncio.Event)
    """Its place is another's."""


class Links:
    """The register of one service's resumable sessions."""

    def __init__(self, config: ResumeConfig, lifecycle: Lifecycle, metrics: AsrMetrics) -> None:
        self.config = config
        self.metrics = metrics
        self.errors = lifecycle.metrics.errors
        self._lifecycle = lifecycle
        self._closing = lifecycle.closing
        self._live: dict[str, Resumable] = {}
        self._ended: dict[str, Resumable] = {}
        """Those whose last words may not have been heard, oldest first."""
        self._parked: dict[str, _Parked] = {}
        """The oldest first."""

    def add(self, link: Resumable) -> None:
        self._live[link.session_id] = link

    def remove(self, link: Resumable, *, keep: bool) -> None:
        """The session is over.

        Args:
            keep: it ended well, and its last events may still be asked for.
        """
        if self._live.pop(link.session_id, None) is None or not keep or not self.config.max_parked:
            return
        while len(self._ended) >= self.config.max_parked:
            del self._ended[self._least_wanted(link.holder)]
        self._ended[link.session_id] = link
        self._lifecycle.may_be_asked_again()
        loop = asyncio.get_running_loop()
        loop.call_later(self.config.window_s, self._ended.pop, link.session_id, None)

    def _least_wanted(self, holder: bytes | None) -> str:
        """Whose last words make room for those of the holder: its own, unless another has more."""
        held = {session_id: link.holder for session_id, link in self._ended.items()}
        own = (session_id for session_id, each in held.items() if each == holder)
        return to_be_displaced(held, holder) or next(own, next(iter(held)))

    def find(self, session_id: str, holder: bytes | None) -> Resumable:
        """The session of this id, if it was opened with the same key.

        Raises:
            ProtocolError: `session_not_found`, which tells nobody whether there is another's.
        """
        link = self._live.get(session_id) or self._ended.get(session_id)
        if link is None or link.holder != holder:
            raise ProtocolError(
                ErrorCode.SESSION_NOT_FOUND,
                "there is no such session to go on with: it is over, was away for more than "
                f"{self.config.window_s:g} s, is not resumable or has another key; open a new one",
            )
        return link

    @contextmanager
    def _parking(self, link: Resumable) -> Iterator[_Parked]:
        """Raises ClientGone: too many wait already, and nobody has more than this one's holder."""
        if len(self._parked) >= self.config.max_parked:
            held = {session_id: parked.holder for session_id, parked in self._parked.items()}
            goes = to_be_displaced(held, link.holder) if held else None
            if goes is None:
                raise ClientGone
            self._parked.pop(goes).displaced.set()
        mine = self._parked[link.session_id] = _Parked(link.holder)
        self.metrics.parked.set(len(self._parked))
        try:
            yield mine
        finally:
            self._parked.pop(link.session_id, None)
            self.metrics.parked.set(len(self._parked))

    async def wait_for(self, link: Resumable, returned: asyncio.Event) -> None:
        """Park a session until its client has returned.

        Raises:
            ClientGone: it did not, or too many wait already, or the service is shutting down.
        """
        if self._closing.is_set():
            raise ClientGone
        with self._parking(link) as parked:
            events = (returned, self._closing, parked.displaced)
            waits = [asyncio.ensure_future(event.wait()) for event in events]
            try:
                await asyncio.wait(
                    waits, timeout=self.config.window_s, return_when=asyncio.FIRST_COMPLETED
                )
            finally:
                for wait in waits:
                    wait.cancel()
        if not returned.is_set():
            self.metrics.expired.inc()
            raise ClientGone
