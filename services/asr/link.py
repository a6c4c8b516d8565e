"""A session's way to its client, which may change connections without losing a word.

The conversation talks to its link as to a connection. Until the client asks for a resumable
session that is all there is to it. From then on events are numbered and kept, the client's messages
are counted, and a lost connection only parks the session: another one tells the number of the
latest event it knows, is told how many messages have come, and both go on from there. Whole
messages are counted, because a WebSocket delivers them whole or not at all: so the count is exact
for any encoding and chunking, and covers `flush` and `stop` as well as audio.
"""

import asyncio
from collections.abc import Callable

import structlog
from pydantic import BaseModel

from services.asr.event_log import EventLog
from services.asr.links import Links
from services.asr.messages import Ack, Handover, Resumed, SessionEvent, Stopped
from services.shared.protocol.base import CloseCode, Error, ErrorCode, ProtocolError
from services.shared.protocol.codec import encode
from services.shared.runtime.connection import ClientGone, Connection

log = structlog.get_logger(__name__)

_ACK_S = 1.0
_LEFT = (CloseCode.NORMAL, 1005)
"""A client that closes like this (1005: without a code) does not come back."""
_ENDED_WELL = (CloseCode.NORMAL, CloseCode.SERVICE_RESTART)
"""Whoever lost its connection at this moment may still ask for the last words."""


class Link:
    """Stands between one conversation and the connections that carry it, one at a time."""

    def __init__(self, connection: Connection, links: Links) -> None:
        self.session_id = connection.session_id
        self.grant = connection.grant
        """Of the connection that opened the session; later ones are charged to the same."""
        self.arrivals = 0
        """How often the client has come back."""
        self._links = links
        self._opening = connection
        self._current: Connection | None = connection
        self._present = asyncio.Event()
        self._present.set()
        self._log: EventLog | None = None
        """None: the session cannot be resumed."""
        self._received = 0
        self._told = 0
        self._told_at = 0.0
        self._ending: tuple[CloseCode, str] | None = None

    @property
    def holder(self) -> bytes | None:
        return self.grant.holder

    @property
    def attached(self) -> bool:
        """Is there a client at the other end, as far as can be known?"""
        return self._current is not None

    def make_resumable(self) -> None:
        """From here on the session outlives its connection."""
        self._log = EventLog(self._links.config.replay_bytes)
        self._links.add(self)

    @property
    def received(self) -> int:
        """Messages of the client that were taken, over all its connections."""
        return self._received

    def close(self) -> None:
        """The session is over."""
        ended_well = self._ending is not None and self._ending[0] in _ENDED_WELL
        self._links.remove(self, keep=ended_well)
        if self._current is not None:
            self._current.leave()

    # What a conversation does with a connection.

    async def receive(self, busy: Callable[[], bool]) -> str | bytes:
        """The client's next message, over whichever connection it comes.

        Raises:
            ClientGone: gone for good.
            ProtocolError: as :meth:`.Connection.receive`.
        """
        while True:
            await self._present.wait()
            connection = self._current
            assert connection is not None
            try:
                message = await connection.receive(busy)
            except (ClientGone, ProtocolError) as loss:
                if connection is self._current:
                    self._lose(connection, loss, from_reading=True)
            else:
                if connection is self._current:
                    self._received += 1
                    return message
                # It did not count when the next connection came, so it will be sent again.

    def send(self, message: BaseModel) -> None:
        """Queue one message; in a resumable session, keep it, too.

        Raises:
            ProtocolError: `slow_client`.
        """
        connection = self._current
        if self._log is None:
            if connection is not None:
                connection.send(message)
            return
        assert isinstance(message, SessionEvent | Error)
        if isinstance(message, Handover | Stopped):
            self._told = self._received  # no acknowledgement comes behind the last word
        text = self._log.append(message)
        if connection is not None:
            try:
                connection.send_text(text)
            except ProtocolError as loss:
                self._lose(connection, loss)

    def acknowledge(self, now: float) -> None:
        """Tell a resumable client now and then what it need not keep any more."""
        if self._log is None or self._current is None:
            return
        if self._received == self._told or now - self._told_at < _ACK_S:
            return
        self._told, self._told_at = self._received, now
        try:
            self._current.send(Ack(received=self._received))
        except ProtocolError as loss:
            self._lose(self._current, loss)

    async def write(self) -> None:
        """Carry what is sent to whichever connection there is; park the session without one.

        Raises:
            ClientGone, ProtocolError
        """
        while True:
            connection = self._current
            if connection is None:
                await self._links.wait_for(self, self._present)
                continue
            try:
                await connection.write()
            except (ClientGone, ProtocolError) as loss:
                if connection is self._current:
                    self._lose(connection, loss)

    async def see_off(self) -> None:
        """Close the connection that opened the session when another carries it; run as a task."""
        await self._opening.close_when_left()

    async def finish(self, code: CloseCode, reason: str = "") -> None:
        """Send what is left and close. What is not heard of it may still be asked for."""
        self._ending = (code, reason)
        if self._current is not None:
            await self._current.finish(code, reason)

    # Leaving and coming back.

    def _lose(
        self,
        connection: Connection,
        loss: ClientGone | ProtocolError,
        *,
        from_reading: bool = False,
    ) -> None:
        """The connection is of no use any more; raises when the session ends with it."""
        gone_for_good = isinstance(loss, ClientGone) and loss.code in _LEFT
        at_fault = isinstance(loss, ProtocolError) and from_reading
        if self._log is None or gone_for_good or at_fault:
            raise loss
        log.info("connection lost", reason=str(loss), received=self._received)
        self._current = None
        self._present.clear()
        if isinstance(loss, ProtocolError):
            self._links.errors.labels(loss.code.value).inc()
            connection.leave(loss)
        else:
            connection.leave()

    async def carry_on(self, connection: Connection, last_event: int) -> None:
        """Use this connection from now on; returns when it is not used any more and closed.

        Raises:
            ProtocolError: `events_lost`, or no such event.
        """
        assert self._log is not None
        missed = self._log.after(last_event)
        resumed = Resumed(session_id=self.session_id, received=self._received)
        connection.resend([encode(resumed), *missed])
        self._links.metrics.resumed.inc()
        log.info("resumed", received=self._received, missed=len(missed))
        if self._ending is not None:
            await connection.finish(*self._ending)
            return
        before, self._current = self._current, connection
        self.arrivals += 1
        self._told = self._received
        self._present.set()
        if before is not None:
            self._links.errors.labels(ErrorCode.TAKEN_OVER.value).inc()
            sentence = "the session goes on over another connection"
            before.leave(ProtocolError(ErrorCode.TAKEN_OVER, sentence))
        await connection.close_when_left()
