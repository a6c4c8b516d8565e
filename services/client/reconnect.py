"""An ASR session that outlives its connections: what is lost on the way is sent again.

Until the service acknowledges a message it is kept. When the connection is lost, another one is
made, the service tells how many messages it has got, and sending goes on after these; it sends the
events that come after the latest one known here.

A service that shuts down hands the session over: it answers what it has taken and says how much
that is. What is left goes to a session of another instance; the caller sees one timeline.
"""

import asyncio
import random
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlencode

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from services.asr.messages import (
    Ack,
    Encoding,
    Flush,
    Handover,
    Ready,
    Resumed,
    ServerMessage,
    SessionEvent,
    Start,
    Stop,
    Stopped,
    server_codec,
)
from services.client.connection import ServiceError, first_message, open_socket
from services.client.sent import SentLog
from services.client.timeline import Timeline
from services.shared.audio.pcm import AudioFormat
from services.shared.audio.pcm import Encoding as PcmEncoding
from services.shared.protocol.base import ERRORS, CloseCode, Error, ErrorCode
from services.shared.protocol.codec import encode

_EVENTS = 1024
"""Events that may wait for a caller who does not read them; then the service is not read either."""


@dataclass(frozen=True, slots=True)
class Reconnect:
    """How hard a lost connection is tried again."""

    give_up_s: float = 30.0
    """Longest time without a connection; services wait as long (`resume.window_s`)."""
    buffer_bytes: int = 4 << 20
    """Audio kept until it is acknowledged, two minutes at 16 kHz; when full, sending waits."""
    first_pause_s: float = 0.1
    longest_pause_s: float = 2.0
    """Between attempts; each pause is twice as long as the one before."""
    dead_s: float = 10.0
    """A service that answers no ping for so long is taken for gone."""


RECONNECT = Reconnect()


class ResumingAsrStream:
    """One live session over as many connections as it takes. :func:`.open_asr` makes it."""

    def __init__(
        self,
        url: str,
        start: Start,
        key: str | None,
        options: Reconnect,
        tls: ssl.SSLContext | None = None,
        request_id: str | None = None,
    ) -> None:
        self.ready: Ready
        self.connections = 0
        """How many there were."""
        self.connected_at = 0.0
        """When the latest was made (`time.monotonic()`)."""
        self.lost_at: float | None = None
        """When the one before was lost."""
        self._url = f"{url}/v1/stream/asr"
        self._key = key
        self._tls = tls
        self._request_id = request_id
        self._options = options
        self._codec = server_codec()
        self._socket: ClientConnection
        self._start = encode(start.model_copy(update={"resumable": True}))
        self._sent = SentLog()
        self._sent.add(self._start)
        self._frame_bytes = _frame_bytes(start)
        self._divisible = start.encoding is not Encoding.WEBM
        """Another session can go on after any of the messages."""
        self._moving = False
        """The session was handed over and the next one has not begun."""
        self._timeline = Timeline()
        self._changed = asyncio.Condition()
        """Something may be sent, or there may be room again."""
        self._events: asyncio.Queue[tuple[float, ServerMessage] | None] = asyncio.Queue(_EVENTS)
        self._last_event = 0
        self._over = False
        self._failure: ServiceError | None = None

    @property
    def session_id(self) -> str:
        return self.ready.session_id

    # What a caller does.

    async def send_audio(self, data: bytes) -> None:
        """Send one chunk, now or when there is a connection again; waits while too much is kept.

        Raises:
            ServiceError: the session is over.
        """
        self._divisible = self._divisible and len(data) % self._frame_bytes == 0
        await self._send(data)

    async def flush(self) -> None:
        await self._send(encode(Flush()))

    async def stop(self) -> None:
        await self._send(encode(Stop()))

    async def events(self) -> AsyncIterator[tuple[float, ServerMessage]]:
        """Messages with their time of arrival (`time.monotonic()`), until the session is over.

        Raises:
            ServiceError: it ended badly, or a lost connection could not be made again in time.
        """
        while (event := await self._events.get()) is not None:
            yield event
        self._events.put_nowait(None)  # for whoever asks again
        if self._failure is not None:
            raise self._failure

    async def _send(self, message: str | bytes) -> None:
        limit = self._options.buffer_bytes - len(message)
        async with self._changed:
            await self._changed.wait_for(lambda: self._over or self._sent.size <= max(0, limit))
            if self._over:
                raise self._failure or ServiceError("the session is over", code="over")
            self._sent.add(message)
            self._changed.notify_all()

    # What goes on behind it.

    async def connect(self) -> None:
        """Begin the session.

        Raises:
            ServiceError: unreachable or refused.
        """
        socket = await self._open(self._url)
        async with _closing_unless_used(socket):
            self.ready = await first_message(socket, self._codec, Ready)
        self._use(socket, received=0)

    async def close(self) -> None:
        """Let go of the connection; more than once does no harm."""
        await self._socket.close()

    async def run(self) -> None:
        """Send, receive and reconnect until the session is over; run as a task."""
        try:
            while not self._over:
                await self._use_connection()
                if not self._over:
                    self.lost_at = time.monotonic()
                    await self._reconnect()
        except ServiceError as failure:
            self._failure = failure
        except Exception as error:  # noqa: BLE001 - whoever waits for events must hear of it
            self._failure = ServiceError(repr(error), code="internal", retryable=False)
        finally:
            self._over = True
            await self.close()
        async with self._changed:
            self._changed.notify_all()
        await self._events.put(None)

    async def _use_connection(self) -> None:
        """Until it is lost, or the session is over."""
        sending = asyncio.create_task(self._send_kept())
        try:
            with suppress(ConnectionClosed):
                async for frame in self._socket:
                    if isinstance(frame, str):
                        await self._take(time.monotonic(), self._codec.decode(frame))
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _send_kept(self) -> None:
        with suppress(ConnectionClosed):
            while True:
                async with self._changed:
                    while (message := self._sent.take()) is None:
                        await self._changed.wait()
                await self._socket.send(message)

    async def _take(self, at: float, message: ServerMessage) -> None:
        if isinstance(message, Ack):
            if self._moving:
                return  # of the session that is over; the handover has told it
            async with self._changed:
                try:
                    self._sent.acknowledge(message.received)
                except ValueError as error:
                    raise _nonsense(error) from None
                self._changed.notify_all()
        elif isinstance(message, SessionEvent | Error):
            new = self._is_new(message)
            if isinstance(message, Handover):
                await self._hand_over(message)
            elif new and not self._moving:
                await self._events.put((at, self._timeline.of_all(message)))
                self._over = isinstance(message, Stopped)
            if isinstance(message, Error) and _ends_session(message) and not self._moving:
                raise ServiceError(message.message, code=message.code, retryable=message.retryable)

    async def _hand_over(self, done: Handover) -> None:
        """What is not answered goes to another session, unless that could not make sense of it."""
        if not self._divisible:
            return
        async with self._changed:
            try:
                self._sent.acknowledge(done.received)
            except ValueError as error:
                raise _nonsense(error) from None
            self._sent.begin_anew(self._start)
            self._changed.notify_all()
        self._timeline.hand_over(done)
        self._moving = True

    def _is_new(self, message: SessionEvent | Error) -> bool:
        if message.event is None:  # an error of the connection
            return isinstance(message, Error) and _ends_session(message)
        if message.event > self._last_event + 1:
            raise ServiceError(
                f"event {message.event} came after {self._last_event}", code="events_lost"
            )
        new = message.event > self._last_event
        self._last_event = max(self._last_event, message.event)
        return new

    async def _reconnect(self) -> None:
        """Make another connection, for as long as there is hope.

        Raises:
            ServiceError: there is none any more.
        """
        options = self._options
        pause, end = options.first_pause_s, time.monotonic() + options.give_up_s
        while True:
            try:
                async with asyncio.timeout(max(0.1, end - time.monotonic())):
                    await (self._begin_again() if self._moving else self._resume())
                return
            except (ServiceError, ConnectionClosed, TimeoutError) as error:
                if isinstance(error, ServiceError) and not error.retryable:
                    raise
                told_s = getattr(error, "retry_after_s", None) or 0.0
                if time.monotonic() + max(pause, told_s) > end:
                    raise ServiceError(
                        "the connection was lost and could not be made again within "
                        f"{options.give_up_s:g} s: {error or type(error).__name__}",
                        code="connection_lost",
                        retry_after_s=told_s or None,
                    ) from None
            # Not in step with all others who lost theirs at the same time.
            wait_s = max(pause * random.uniform(0.5, 1.0), told_s * random.uniform(1.0, 1.25))
            await asyncio.sleep(wait_s)
            pause = min(2 * pause, options.longest_pause_s)

    async def _begin_again(self) -> None:
        self._last_event = 0
        await self.connect()
        self._moving = False

    async def _resume(self) -> None:
        query = urlencode({"session_id": self.session_id, "last_event": self._last_event})
        address = f"{self._url}?{query}"
        socket = await self._open(address)
        try:
            # A normal closure would end the session, which the next attempt may find.
            async with _closing_unless_used(socket, failed=CloseCode.GOING_AWAY):
                resumed = await first_message(socket, self._codec, Resumed)
        except ServiceError as error:
            unknown = error.code == ErrorCode.SESSION_NOT_FOUND
            if unknown and not self._last_event and not self._sent.acknowledged:
                await self.connect()  # the service never got to know it: nothing is lost
                return
            raise
        self._use(socket, received=resumed.received)

    async def _open(self, address: str) -> ClientConnection:
        return await open_socket(
            address,
            self._key,
            dead_s=self._options.dead_s,
            tls=self._tls,
            request_id=self._request_id,
        )

    def _use(self, socket: ClientConnection, *, received: int) -> None:
        self._socket = socket
        self.connections += 1
        self.connected_at = time.monotonic()
        try:
            self._sent.rewind(received)
        except ValueError as error:
            raise _nonsense(error) from None


@asynccontextmanager
async def _closing_unless_used(
    socket: ClientConnection, failed: CloseCode = CloseCode.NORMAL
) -> AsyncIterator[None]:
    """Whoever is cancelled leaves for good."""
    try:
        yield
    except BaseException as error:
        await socket.close(failed if isinstance(error, Exception) else CloseCode.NORMAL)
        raise


def _frame_bytes(start: Start) -> int:
    """What audio messages must be a multiple of to be understood without those before them."""
    if start.encoding in (Encoding.OPUS, Encoding.WEBM):
        return 1
    return AudioFormat(
        PcmEncoding(start.encoding.value), start.sample_rate, start.channels
    ).frame_bytes


def _ends_session(error: Error) -> bool:
    """A fatal error, but for that of a connection which had come to a halt."""
    fatal = ERRORS[error.code].close is not None
    return fatal and error.code is not ErrorCode.SLOW_CLIENT


def _nonsense(error: ValueError) -> ServiceError:
    return ServiceError(str(error), code="protocol", retryable=False)
