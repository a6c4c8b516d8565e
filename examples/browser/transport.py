"""A call from a web page as a conversation sees it: audio and small messages over one WebSocket.

Binary frames are 16-bit mono PCM at 16 kHz in both directions. Messages to the page: `mark`,
`pause`, `resume`, `flush`, `turn`, `ended`; from it: `played`, `mark`, `digit`.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import structlog
from starlette.websockets import WebSocket, WebSocketDisconnect

from examples.voice_agent.inbox import Inbox
from examples.voice_agent.transport import (
    AudioIn,
    CallInfo,
    Digit,
    HungUp,
    MarkPlayed,
    TransportClosed,
    TransportEvent,
)
from services.shared.audio.pcm import AudioFormat, Encoding

log = structlog.get_logger(__name__)

FORMAT = AudioFormat(Encoding.PCM_S16LE, 16_000)
_ROOM_S = 2.0
"""Audio that may wait in the page before `send_audio` waits."""
_INBOX_S = 2.0
_SEND_S = 5.0
_LARGEST = 32_000
"""Bytes of one message: a second of audio. Pages send 20 ms."""
_UNREADABLE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
_DIGITS = frozenset("0123456789*#ABCD")


class BrowserTransport:
    """One page's call: see :class:`~examples.voice_agent.transport.CallTransport`.

    :meth:`run`, as a task, reads the socket; it ends with the call.
    """

    def __init__(
        self,
        socket: WebSocket,
        info: CallInfo,
        on_dropped: Callable[[int], object] = lambda count: None,
    ) -> None:
        """
        Args:
            on_dropped: is told of bytes of the caller that were not read in time.
        """
        self._socket = socket
        self._info = info
        self._inbox = Inbox(round(FORMAT.bytes_per_s * _INBOX_S), on_dropped)
        self._order = asyncio.Lock()
        self._room = asyncio.Condition()
        self._sent = self._done = 0
        """Bytes that were sent, and that the page has played or thrown away."""
        self._over: HungUp | None = None

    @property
    def info(self) -> CallInfo:
        return self._info

    @property
    def audio_format(self) -> AudioFormat:
        return FORMAT

    async def run(self) -> None:
        """Read until the page goes, or the call is over."""
        try:
            while self._over is None:
                await self._take(await self._socket.receive())
        except (WebSocketDisconnect, RuntimeError):
            pass
        finally:
            await self._end(HungUp("Normal Clearing", by_caller=True))

    def events(self) -> AsyncIterator[TransportEvent]:
        return self._inbox.events()

    async def answer(self) -> None:
        await self._tell("answered")

    async def send_audio(self, data: bytes) -> None:
        limit = FORMAT.bytes_per_s * _ROOM_S
        async with self._room:
            await self._room.wait_for(lambda: self._over or self._sent - self._done < limit)
            self._check()
            self._sent += len(data)
        await self._send({"type": "websocket.send", "bytes": data})

    async def mark(self, name: str) -> None:
        await self._tell("mark", name=name)

    async def pause(self) -> None:
        await self._tell("pause")

    async def resume(self) -> None:
        await self._tell("resume")

    async def flush(self) -> None:
        await self._tell("flush")

    async def send_digits(self, digits: str) -> None:
        """A page has nobody to send them to."""
        self._check()

    async def transfer(self, target: str) -> None:
        """
        Raises:
            ValueError: a page cannot be transferred; the call goes on.
        """
        self._check()
        raise ValueError(f"a call from a web page cannot be transferred to {target}")

    async def give_back(self) -> None:
        await self.hang_up("failed")

    async def hang_up(self, cause: str = "normal") -> None:
        await self._tell("ended", cause=cause)
        await self._end(HungUp(cause, by_caller=False))

    async def show(self, **turn: Any) -> None:
        """Let the page show what was said; nothing when it is gone."""
        if self._over is None:
            await self._tell("turn", **turn)

    async def _take(self, message: Any) -> None:
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1000))
        data, text = message.get("bytes"), message.get("text")
        if len(data or text or "") > _LARGEST:
            raise WebSocketDisconnect(1009)
        if data:
            self._inbox.put(AudioIn(data[: len(data) // 2 * 2], time.monotonic()))
        elif text:
            try:
                await self._told(json.loads(text))
            except _UNREADABLE:
                log.warning("page_message_unreadable", text=text[:100])

    async def _told(self, message: dict[str, Any]) -> None:
        match message.get("type"):
            case "mark":
                self._inbox.put(MarkPlayed(str(message.get("name")), time.monotonic()))
            case "digit" if str(message.get("digit")) in _DIGITS:
                self._inbox.put(Digit(str(message["digit"])))
            case "played":
                async with self._room:
                    self._done = min(self._sent, max(self._done, 2 * int(message["samples"])))
                    self._room.notify_all()

    async def _tell(self, kind: str, **fields: Any) -> None:
        self._check()
        await self._send({"type": "websocket.send", "text": json.dumps({"type": kind, **fields})})

    async def _send(self, message: dict[str, Any]) -> None:
        """
        Raises:
            TransportClosed: the page is gone, or does not read.
        """
        try:
            async with asyncio.timeout(_SEND_S), self._order:
                await self._socket.send(message)
        except (WebSocketDisconnect, RuntimeError, TimeoutError) as error:
            await self._end(HungUp("gone", by_caller=True))
            raise TransportClosed(f"the page is gone: {error!r}") from None

    async def _end(self, event: HungUp) -> None:
        if self._over is None:
            self._over = event
            self._inbox.put(event)
            async with self._room:
                self._room.notify_all()

    def _check(self) -> None:
        if self._over is not None:
            raise TransportClosed(self._over.cause)
