"""A client of the TTS service, for the command line, the demo and the benchmarks."""

import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection

from services.client.connection import (
    ServiceError,
    closing,
    first_message,
    headers_for,
    open_socket,
    refusal,
    verified_by,
)
from services.shared.protocol.codec import encode
from services.tts.messages import (
    Cancel,
    ClientMessage,
    Close,
    End,
    Flush,
    Ready,
    ServerMessage,
    Start,
    Text,
    server_codec,
)


class TtsStream:
    """One live session: text in, audio and messages out."""

    def __init__(self, socket: ClientConnection, ready: Ready) -> None:
        self.session_id = ready.session_id
        self.ready = ready
        self._socket = socket
        self._codec = server_codec()

    async def start(self, start: Start) -> None:
        await self._send(start)

    async def send_text(self, text: str, context_id: str | None = None) -> None:
        await self._send(Text(text=text, context_id=context_id))

    async def flush(self, context_id: str | None = None) -> None:
        await self._send(Flush(context_id=context_id))

    async def end(self, context_id: str | None = None) -> None:
        await self._send(End(context_id=context_id))

    async def cancel(self, context_id: str | None = None) -> None:
        await self._send(Cancel(context_id=context_id))

    async def close(self) -> None:
        await self._send(Close())

    async def events(self) -> AsyncIterator[tuple[float, ServerMessage | bytes]]:
        """Messages and audio with their time of arrival (`time.monotonic()`)."""
        async for frame in self._socket:
            at = time.monotonic()
            yield at, self._codec.decode(frame) if isinstance(frame, str) else frame

    async def _send(self, message: ClientMessage) -> None:
        await self._socket.send(encode(message))


@asynccontextmanager
async def open_tts(
    url: str,
    *,
    key: str | None = None,
    dead_s: float = 40.0,
    tls: ssl.SSLContext | None = None,
    request_id: str | None = None,
) -> AsyncIterator[TtsStream]:
    """Connect to `ws://host:port`.

    Args:
        dead_s: a service that answers no ping for so long is taken for gone.
        tls: for `wss://`, see :func:`.trusting`.
        request_id: what the service's logs shall call it, see :func:`.open_socket`.

    Raises:
        ServiceError: unreachable or refused.
    """
    url = f"{url}/v1/stream/tts"
    socket = await open_socket(url, key, dead_s=dead_s, tls=tls, request_id=request_id)
    async with closing(socket):
        ready = await first_message(socket, server_codec(), Ready)
        yield TtsStream(socket, ready)


async def synthesize(
    url: str,
    wanted: dict[str, Any],
    *,
    key: str | None = None,
    timeout_s: float = 600.0,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[bytes]:
    """The audio of `POST http://host:port/v1/synthesize`, as it arrives.

    Args:
        wanted: the fields of the request: text, voice, format, sample_rate, speed.

    Raises:
        ServiceError: unreachable, refused, or broken off.
    """
    timeout = httpx.Timeout(timeout_s, connect=10.0)
    try:
        async with (
            httpx.AsyncClient(
                timeout=timeout, trust_env=False, verify=verified_by(url, tls)
            ) as client,
            client.stream(
                "POST", f"{url}/v1/synthesize", json=wanted, headers=headers_for(key)
            ) as answer,
        ):
            if answer.status_code != 200:
                raise refusal(answer.status_code, await answer.aread(), answer.headers)
            async for block in answer.aiter_bytes():
                yield block
    except httpx.HTTPError as error:
        raise ServiceError(f"{url} failed: {error or type(error).__name__}") from None
