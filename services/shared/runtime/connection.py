"""One client's WebSocket: admission before the upgrade, bounded reads, a bounded single writer."""

import asyncio
import contextlib
import time
import uuid
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from typing import Any, Protocol, TypeVar

import structlog
from fastapi import WebSocket, WebSocketDisconnect
from pydantic import BaseModel

from services.shared.protocol.base import CloseCode, ErrorCode, ProtocolError
from services.shared.protocol.codec import encode
from services.shared.runtime.auth import SUBPROTOCOL, USED_BY, Grant
from services.shared.runtime.config import LimitsConfig
from services.shared.runtime.edge import error_response, internal_error
from services.shared.runtime.endings import forget_frames, this_task
from services.shared.runtime.keys import Scope
from services.shared.runtime.lifecycle import Lifecycle

log = structlog.get_logger(__name__)

SMALL_MESSAGE_BYTES = 80
"""Less than this (10 ms of phone audio) counts against the message rate; larger messages are held
back by back-pressure alone, so that a file may be streamed faster than real time."""
BURST_S = 5.0
VANISHED = 1006
"""The close code of a connection that was lost without one."""


T = TypeVar("T")


class ClientGone(Exception):
    """The client closed or vanished; there is nobody left to tell."""

    def __init__(self, code: int = VANISHED) -> None:
        super().__init__(f"close code {code}")
        self.code = code
        """The close code that it gave (RFC 6455 §7.1.5)."""


class SessionEnded(Exception):
    """The session is over: flush what is queued, then close with `code`."""

    def __init__(self, code: CloseCode = CloseCode.NORMAL, reason: str = "") -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class _TokenBucket:
    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst, self._tokens = rate, burst, burst
        self._at = time.monotonic()

    def take(self) -> bool:
        now = time.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        self._tokens -= 1
        return self._tokens >= 0


def _never() -> bool:
    return False


class Connection:
    """Reads are limited in rate and idle time, writes in number and time."""

    def __init__(self, websocket: WebSocket, limits: LimitsConfig, grant: Grant) -> None:
        self.session_id = uuid.uuid4().hex
        self.grant = grant
        """What the client may do, and who is charged for it."""
        self._websocket = websocket
        self._limits = limits
        self._bucket = _TokenBucket(limits.max_messages_per_s, limits.max_messages_per_s * BURST_S)
        self._outbox: asyncio.Queue[str | bytes] = asyncio.Queue(limits.outbox_messages)
        self._unsent: str | bytes | None = None
        """What the writer holds while the socket does not take it."""
        self._resent: deque[str] = deque()
        """Goes before the outbox: what another connection may have lost."""
        self.left: asyncio.Future[ProtocolError | None] = asyncio.get_running_loop().create_future()
        """Resolved when no session uses this connection any more, with what to tell the client."""
        self._stuck = False
        self._receiver: asyncio.Task[Any] | None = None
        """Whoever waits for the next message."""
        self._interruption: Exception | None = None
        self._busy: Callable[[], bool] = _never
        self._listening_since = 0.0
        self._watched = False
        """A timer is running that will look for idleness."""

    async def receive(self, busy: Callable[[], bool] = _never) -> str | bytes:
        """The next message.

        Args:
            busy: tells whether the server is still working for this client, so that its silence is
                no idleness.

        Raises:
            ClientGone: closed, lost, or left by its session.
            ProtocolError: too much, too often, or nothing for too long.
        """
        if self.left.done():
            raise ClientGone
        self._watch_idleness(busy)
        try:
            event = await self._interruptible(self._websocket.receive())
        finally:
            self._busy = _never  # it knows the session, which knows this connection
        if event["type"] == "websocket.disconnect":
            code = event.get("code", VANISHED)
            self._websocket.scope["close_code"] = code  # for the log
            raise ClientGone(code)
        return self._checked(event.get("text"), event.get("bytes"))

    async def _interruptible(self, receiving: Coroutine[Any, Any, T]) -> T:
        """Await what :meth:`leave` or idleness may end.

        By cancelling, as `asyncio.timeout` does, but without a task or a timer for each message:
        under overload by 200 callers, 46 % of a profiler's samples of the event loop's thread were
        in those. A message that came at the same moment stays in the socket's queue; nobody reads
        it any more.
        """
        self._receiver = this_task()
        cancelling = self._receiver.cancelling()
        try:
            return await receiving
        except asyncio.CancelledError:
            if self._interruption is None or self._receiver.uncancel() > cancelling:
                raise  # the session itself is being ended
            raise self._interruption from None
        finally:
            self._receiver = self._interruption = None

    def _interrupt(self, interruption: Exception) -> None:
        if self._receiver is not None and self._interruption is None:
            self._interruption = interruption
            self._receiver.cancel()

    def _watch_idleness(self, busy: Callable[[], bool]) -> None:
        """Arm the one timer of this connection; it moves on with what is heard."""
        self._busy = busy
        self._listening_since = time.monotonic()
        if not self._watched:
            self._check_idleness_in(self._limits.idle_s)

    def _check_idleness_in(self, seconds: float) -> None:
        """The timer may outlive the connection; it does not keep it."""
        self._watched = True
        this = weakref.ref(self)

        def check() -> None:
            if (connection := this()) is not None:
                connection._check_idleness()

        asyncio.get_running_loop().call_later(seconds, check)

    def _check_idleness(self) -> None:
        self._watched = False
        if self.left.done() or self._receiver is None:
            return  # nobody listens: armed again with the next receive
        idle_s = time.monotonic() - self._listening_since
        remaining_s = self._limits.idle_s - idle_s
        if remaining_s <= 0 and not self._busy():
            self._interrupt(
                ProtocolError(
                    ErrorCode.IDLE_TIMEOUT, f"nothing was received for {self._limits.idle_s:g} s"
                )
            )
            return
        self._check_idleness_in(remaining_s if remaining_s > 0 else self._limits.idle_s)

    def _checked(self, text: str | None, data: bytes | None) -> str | bytes:
        message: str | bytes = text if text is not None else (data or b"")
        size = len(message) if isinstance(message, bytes) else len(message.encode())
        if size > self._limits.max_message_bytes:
            raise ProtocolError(
                ErrorCode.MESSAGE_TOO_LARGE,
                f"a message of {size} bytes is over the limit of {self._limits.max_message_bytes}",
            )
        if size < SMALL_MESSAGE_BYTES and not self._bucket.take():
            raise ProtocolError(
                ErrorCode.TOO_MANY_MESSAGES,
                f"more than {self._limits.max_messages_per_s} small messages a second; "
                "put 20 ms or more of audio, or more text, into each",
            )
        return message

    def send(self, message: BaseModel) -> None:
        """Queue one JSON message.

        Raises:
            ProtocolError: `slow_client` when the client has stopped reading.
        """
        self.send_text(encode(message))

    def send_text(self, text: str) -> None:
        """Queue one message that is JSON already. Raises as :meth:`send`."""
        try:
            self._outbox.put_nowait(text)
        except asyncio.QueueFull:
            raise self._slow() from None

    async def send_audio(self, data: bytes) -> None:
        """Send one binary message; waits until it and all before it are on their way.

        So whoever produces audio is slowed down to what the client reads, and no more than this
        waits for it.
        """
        try:
            async with asyncio.timeout(self._limits.send_s):
                await self._outbox.put(data)
                await self._outbox.join()
        except TimeoutError:
            raise self._slow() from None

    async def write(self) -> None:
        """Send what is queued, for ever; run as a task.

        Raises:
            ClientGone: closed, lost, or left by its session.
            ProtocolError: `slow_client`.
        """
        writing = asyncio.ensure_future(self._write())
        either: set[asyncio.Future[Any]] = {writing, self.left}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if writing.done():
                await writing
            raise ClientGone
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
            del writing, either  # it keeps the exception that goes through this frame

    async def _write(self) -> None:
        while self._resent:
            self._unsent = self._resent.popleft()
            await self._write_one(self._unsent)
        self._unsent = None
        while True:
            self._unsent = await self._outbox.get()
            try:
                await self._write_one(self._unsent)
                self._unsent = None
            finally:
                self._outbox.task_done()

    async def finish(self, code: CloseCode, reason: str = "") -> None:
        """Send what is left, then close; gives up quietly when the client does not take it."""
        if self._stuck:
            return  # it was waited for once already
        with contextlib.suppress(
            ClientGone, ProtocolError, RuntimeError, TimeoutError, WebSocketDisconnect
        ):
            if self._unsent is not None:  # the writer was ended while it waited with this
                await self._write_one(self._unsent)
            while self._resent:
                await self._write_one(self._resent.popleft())
            while not self._outbox.empty():
                await self._write_one(self._outbox.get_nowait())
            async with asyncio.timeout(self._limits.send_s):
                # A close frame carries 123 bytes of reason at most (RFC 6455 §5.5).
                await self._websocket.close(code, reason.encode()[:123].decode(errors="ignore"))

    def resend(self, texts: Iterable[str]) -> None:
        """Send these before anything else; to be called before :meth:`write`."""
        self._resent.extend(texts)

    def leave(self, reason: ProtocolError | None = None) -> None:
        """The session goes on without this connection: its reading and writing end.

        Args:
            reason: what the client should be told, if there may be one.
        """
        if not self.left.done():
            self.left.set_result(reason)
            self._interrupt(ClientGone())

    async def close_when_left(self) -> None:
        """Wait until the session has left this connection, then close it."""
        reason = await asyncio.shield(self.left)
        if reason is not None:
            await self.dismiss(reason)

    async def dismiss(self, reason: ProtocolError) -> None:
        """Tell the client why this connection ends, and nothing else, and close it."""
        self._unsent = None
        self._resent.clear()
        while not self._outbox.empty():
            self._outbox.get_nowait()
        self.send(reason.to_message())
        await self.finish(reason.traits.close or CloseCode.INTERNAL_ERROR, reason.code.value)

    async def _write_one(self, message: str | bytes) -> None:
        try:
            async with asyncio.timeout(self._limits.send_s):
                if isinstance(message, str):
                    await self._websocket.send_text(message)
                else:
                    await self._websocket.send_bytes(message)
        except TimeoutError:
            self._stuck = True
            raise self._slow() from None
        except (WebSocketDisconnect, RuntimeError) as error:
            raise ClientGone from error

    def _slow(self) -> ProtocolError:
        return ProtocolError(
            ErrorCode.SLOW_CLIENT, f"the client did not read for {self._limits.send_s:g} s"
        )


class Peer(Protocol):
    """Whom a session talks to: one connection, or whatever stands for several."""

    @property
    def session_id(self) -> str: ...

    def send(self, message: BaseModel) -> None:
        """Queue one message; raises ProtocolError `slow_client`."""

    async def write(self) -> None:
        """Send what is queued until that is of no use any more; then raises why."""

    async def finish(self, code: CloseCode, reason: str = "") -> None:
        """Send what is left, then close."""


@contextlib.asynccontextmanager
async def admitted(
    websocket: WebSocket, lifecycle: Lifecycle, scope: Scope
) -> AsyncIterator[Connection | None]:
    """Check key and room before the upgrade; yields None when the client was refused over HTTP."""
    with contextlib.ExitStack() as stack:
        try:
            grant = lifecycle.keys.check(websocket, scope)
            stack.enter_context(grant.session(USED_BY.get(scope)))
            stack.enter_context(lifecycle.admit())
        except ProtocolError as refusal:
            await _refuse(websocket, lifecycle, refusal)
            yield None
            return
        yield await _accept(websocket, lifecycle, grant)


async def readmitted(websocket: WebSocket, lifecycle: Lifecycle, scope: Scope) -> Connection | None:
    """Check the key and its attempts before the upgrade, but not the room: the session has its own.

    So it may come back to a service that is draining, and be handed over.

    Returns:
        None when the client was refused over HTTP.
    """
    try:
        grant = lifecycle.keys.check(websocket, scope)
        lifecycle.check_running()
        grant.come_back(lifecycle.max_sessions)
    except ProtocolError as refusal:
        await _refuse(websocket, lifecycle, refusal)
        return None
    return await _accept(websocket, lifecycle, grant)


async def _refuse(websocket: WebSocket, lifecycle: Lifecycle, refusal: ProtocolError) -> None:
    lifecycle.metrics.errors.labels(refusal.code.value).inc()
    await websocket.send_denial_response(error_response(refusal))


async def _accept(websocket: WebSocket, lifecycle: Lifecycle, grant: Grant) -> Connection:
    offered = websocket.scope.get("subprotocols") or []
    await websocket.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)
    structlog.contextvars.bind_contextvars(key=grant.key_id)
    return Connection(websocket, lifecycle.limits, grant)


async def converse(
    peer: Peer,
    lifecycle: Lifecycle,
    run: Callable[[asyncio.TaskGroup], None],
    *,
    last_words_s: float = 0.0,
) -> None:
    """Run a session's tasks until one of them ends it, then say why and close.

    Args:
        last_words_s: how long the session may take to end by itself when the drain is over.
        run: starts the session's own tasks in the group. A task ends the session by raising
            SessionEnded, ClientGone or a fatal ProtocolError.
    """
    structlog.contextvars.bind_contextvars(session_id=peer.session_id)
    ending: Exception = SessionEnded()
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(peer.write())
            group.create_task(_limit_session(lifecycle, last_words_s))
            run(group)
    except ExceptionGroup as endings:
        ending = _reason(endings)
        forget_frames(endings)
    await _say_goodbye(peer, lifecycle, ending)


async def _limit_session(lifecycle: Lifecycle, last_words_s: float) -> None:
    try:
        async with asyncio.timeout(lifecycle.limits.session_s):
            await lifecycle.closing.wait()
    except TimeoutError:
        raise ProtocolError(
            ErrorCode.SESSION_TOO_LONG,
            f"a session may last {lifecycle.limits.session_s:g} s; open a new one",
        ) from None
    await asyncio.sleep(last_words_s)
    raise shutting_down()


def shutting_down() -> ProtocolError:
    """What ends the sessions of a service that goes."""
    return ProtocolError(ErrorCode.SHUTTING_DOWN, "the service is shutting down; connect again")


async def _say_goodbye(peer: Peer, lifecycle: Lifecycle, ending: Exception) -> None:
    if isinstance(ending, ProtocolError):
        lifecycle.metrics.errors.labels(ending.code.value).inc()
        log.info("session ended", code=ending.code.value, quotes=ending.message)
        with contextlib.suppress(ProtocolError):
            peer.send(ending.to_message())
        close = ending.traits.close or CloseCode.INTERNAL_ERROR
        await peer.finish(close, ending.code.value)
    elif isinstance(ending, SessionEnded):
        await peer.finish(ending.code, ending.reason)


def _reason(endings: ExceptionGroup[Exception]) -> Exception:
    """What to tell: a fault first, then an ending that has something to say, then a lost client."""
    _, failures = endings.split((SessionEnded, ClientGone, ProtocolError))
    if failures is not None:  # one session's fault never leaves it
        log.error("session failed", exc_info=failures)
        return internal_error()
    return min(_flat(endings), key=lambda error: isinstance(error, ClientGone))


def _flat(group: ExceptionGroup[Exception]) -> Iterator[Exception]:
    for error in group.exceptions:
        if isinstance(error, ExceptionGroup):
            yield from _flat(error)
        else:
            yield error
