"""A client of the ASR service, for the command line, the demo and the benchmarks."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

import httpx
from websockets.asyncio.client import ClientConnection

from services.asr.messages import Flush, Ready, ServerMessage, Start, Stop, server_codec
from services.asr.transcript import Transcript
from services.client.connection import (
    ServiceError,
    closing,
    first_message,
    headers_for,
    open_socket,
    refusal,
    verified_by,
)
from services.client.reconnect import RECONNECT, Reconnect, ResumingAsrStream
from services.shared.protocol.codec import encode


class AsrStream(Protocol):
    """One live session: audio in, messages out. :func:`open_asr` gives it."""

    ready: Ready

    @property
    def session_id(self) -> str: ...

    async def send_audio(self, data: bytes) -> None: ...

    async def flush(self) -> None: ...

    async def stop(self) -> None: ...

    def events(self) -> AsyncIterator[tuple[float, ServerMessage]]:
        """Messages with their time of arrival (`time.monotonic()`), until the session is over."""


class SimpleAsrStream:
    """A session that ends with its connection."""

    def __init__(self, socket: ClientConnection, ready: Ready) -> None:
        self.session_id = ready.session_id
        self.ready = ready
        self._socket = socket
        self._codec = server_codec()

    async def send_audio(self, data: bytes) -> None:
        await self._socket.send(data)

    async def flush(self) -> None:
        await self._socket.send(encode(Flush()))

    async def stop(self) -> None:
        await self._socket.send(encode(Stop()))

    async def events(self) -> AsyncIterator[tuple[float, ServerMessage]]:
        """Messages with their time of arrival (`time.monotonic()`), until the server closes."""
        async for frame in self._socket:
            at = time.monotonic()
            if isinstance(frame, str):
                yield at, self._codec.decode(frame)


@asynccontextmanager
async def open_asr(
    url: str,
    start: Start,
    *,
    key: str | None = None,
    reconnect: Reconnect | None = RECONNECT,
    tls: ssl.SSLContext | None = None,
    request_id: str | None = None,
) -> AsyncIterator[AsrStream]:
    """Connect to `ws://host:port` and start a session.

    Args:
        reconnect: how to go on when the connection is lost; None: not at all.
        tls: for `wss://`, see :func:`.trusting`.
        request_id: what the service's logs shall call it, see :func:`.open_socket`.

    Raises:
        ServiceError: unreachable or refused.
    """
    if reconnect is not None:
        stream = ResumingAsrStream(url, start, key, reconnect, tls, request_id)
        await stream.connect()
        running = asyncio.create_task(stream.run())
        try:
            yield stream
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await stream.close()  # a task that never began closes nothing
        return
    socket = await open_socket(f"{url}/v1/stream/asr", key, tls=tls, request_id=request_id)
    async with closing(socket):
        ready = await first_message(socket, server_codec(), Ready)
        await socket.send(encode(start))
        yield SimpleAsrStream(socket, ready)


async def transcribe_file(
    url: str,
    path: Path,
    *,
    key: str | None = None,
    language: str | None = None,
    word_timestamps: bool = False,
    timeout_s: float = 3600.0,
    tls: ssl.SSLContext | None = None,
) -> Transcript:
    """Send a recording to `http://host:port`.

    Raises:
        ServiceError: unreachable or refused.
    """
    fields = {"word_timestamps": str(word_timestamps).lower()}
    if language:
        fields["language"] = language
    timeout = httpx.Timeout(timeout_s, connect=10.0)
    try:
        async with httpx.AsyncClient(
            timeout=timeout, trust_env=False, verify=verified_by(url, tls)
        ) as client:
            with path.open("rb") as file:
                answer = await client.post(
                    f"{url}/v1/transcribe",
                    files={"file": (path.name, file)},
                    data=fields,
                    headers=headers_for(key),
                )
    except httpx.HTTPError as error:
        raise ServiceError(f"{url} cannot be reached: {error or type(error).__name__}") from None
    if answer.status_code != 200:
        raise refusal(answer.status_code, answer.content, answer.headers)
    return Transcript.model_validate_json(answer.content)
