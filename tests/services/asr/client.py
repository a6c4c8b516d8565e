"""A WebSocket client that keeps what it was told, for tests."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Self, TypeVar

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from services.asr.messages import Final, Ready, ServerMessage, Stopped, server_codec
from services.shared.protocol.base import Error, ErrorCode, Message

M = TypeVar("M", bound=Message)

WAIT_S = 15.0


class Caller:
    """The speaking end of one session."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.log: list[ServerMessage] = []
        """All that came, in order."""
        self._codec = server_codec()

    async def say(self, **fields: Any) -> Self:
        """Send one JSON message."""
        await self.socket.send(json.dumps(fields))
        return self

    async def audio(self, data: bytes | Iterable[bytes], size: int = 3200) -> Self:
        """Send audio in chunks of `size` bytes, or in the given chunks."""
        chunks = (
            (data[at : at + size] for at in range(0, len(data), size))
            if isinstance(data, bytes)
            else data
        )
        for chunk in chunks:
            await self.socket.send(chunk)
        return self

    async def next(self) -> ServerMessage:
        async with asyncio.timeout(WAIT_S):
            frame = await self.socket.recv()
        assert isinstance(frame, str)
        message = self._codec.decode(frame)
        self.log.append(message)
        return message

    async def hear(self, kind: type[M]) -> M:
        """Read until a message of this kind. Errors are not expected unless asked for."""
        while True:
            message = await self.next()
            if isinstance(message, kind):
                return message
            assert not isinstance(message, Error), message

    async def hear_error(self, code: ErrorCode, close: int | None = None) -> Error:
        """Read until this error, and until the connection closes with `close`."""
        error = await self.hear(Error)
        assert error.code is code, error
        if close is not None:
            assert await self.closed() == close
        return error

    async def closed(self) -> int | None:
        """Read to the end; gives the close code."""
        try:
            while True:
                await self.next()
        except ConnectionClosed:
            return self.socket.close_code

    async def stop(self) -> Stopped:
        """Say that this was all, and hear the rest."""
        await self.say(type="stop")
        stopped = await self.hear(Stopped)
        assert await self.closed() == 1000
        assert self.log[-1] is stopped
        return stopped

    def all(self, kind: type[M]) -> list[M]:
        return [message for message in self.log if isinstance(message, kind)]

    @property
    def text(self) -> str:
        return " ".join(final.text for final in self.all(Final) if final.text)

    def kinds(self) -> list[str]:
        return [message.type for message in self.log]


@asynccontextmanager
async def session(
    url: str,
    *,
    query: str = "",
    ready: bool = True,
    start: dict[str, Any] | None = None,
    **options: Any,
) -> AsyncIterator[Caller]:
    """Connect to `ws://host:port`, read the `ready` unless told not to, send a `start`."""
    path = f"{url}/v1/stream/asr{query}"
    async with connect(path, proxy=None, compression=None, max_size=None, **options) as socket:
        caller = Caller(socket)
        if ready:
            await caller.hear(Ready)
        if start is not None:
            await caller.say(type="start", **start)
        yield caller


async def recognise(url: str, data: bytes | Iterable[bytes], **start: Any) -> Caller:
    """One whole session: everything is sent at once, then `stop`."""
    async with session(url, start=start) as caller:
        await caller.audio(data)
        await caller.stop()
    return caller
