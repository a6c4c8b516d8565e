"""The sessions that can be resumed: who they belong to, how many wait, and for how long."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from services.asr.config import ResumeConfig
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


class Links:
    """The register of one service's resumable sessions."""

    def __init__(self, config: ResumeConfig, lifecycle: Lifecycle, metrics: AsrMetrics) -> None:
        self.config = config
        self.metrics = metrics
        self.errors = lifecycle.metrics.errors
        self._closing = lifecycle.closing
        self._live: dict[str, Resumable] = {}
        self._ended: dict[str, Resumable] = {}
        """Those whose last words may not have been heard, oldest first."""
        self._parked = 0

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
            del self._ended[next(iter(self._ended))]
        self._ended[link.session_id] = link
        loop = asyncio.get_running_loop()
        loop.call_later(self.config.window_s, self._ended.pop, link.session_id, None)

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
    def _parking(self) -> Iterator[None]:
        self._parked += 1
        self.metrics.parked.set(self._parked)
        try:
            yield
        finally:
            self._parked -= 1
            self.metrics.parked.set(self._parked)

    async def wait_for(self, returned: asyncio.Event) -> None:
        """Park a session until its client has returned.

        Raises:
            ClientGone: it did not, or too many wait already, or the service is shutting down.
        """
        if self._parked >= self.config.max_parked or self._closing.is_set():
            raise ClientGone
        waits = [asyncio.ensure_future(event.wait()) for event in (returned, self._closing)]
        try:
            with self._parking():
                await asyncio.wait(
                    waits, timeout=self.config.window_s, return_when=asyncio.FIRST_COMPLETED
                )
        finally:
            for wait in waits:
                wait.cancel()
        if not returned.is_set():
            self.metrics.expired.inc()
            raise ClientGone
