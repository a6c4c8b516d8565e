"""A WebSocket client that keeps what it was told, for tests."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import GeneratorType
from typing import Any, Self, TypeVar

import numpy as np
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from services.shared.audio.pcm import Floats
from services.shared.protocol.base import Error, ErrorCode, Message
from services.shared.protocol.codec import encode
from services.tts.engines.fake import SAMPLE_RATE, FakeEngine
from services.tts.messages import (
    AudioStarted,
    ClientMessage,
    Ready,
    ServerMessage,
    server_codec,
)

M = TypeVar("M", bound=Message)

WAIT_S = 10.0


class Speaker:
    """The listening end of one session."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.log: list[ServerMessage | bytes] = []
        """All that came, in order."""
        self._codec = server_codec()

    async def send(self, *messages: ClientMessage) -> Self:
        for message in messages:
            await self.socket.send(encode(message))
        return self

    async def send_raw(self, data: str | bytes) -> Self:
        await self.socket.send(data)
        return self

    async def next(self) -> ServerMessage | bytes:
        async with asyncio.timeout(WAIT_S):
            frame = await self.socket.recv()
        item = self._codec.decode(frame) if isinstance(frame, str) else frame
        self.log.append(item)
        return item

    async def hear(self, kind: type[M]) -> M:
        """Read until a message of this kind. Errors are not expected unless asked for."""
        while True:
            item = await self.next()
            if isinstance(item, kind):
                return item
            assert not isinstance(item, Error), item

    async def hear_error(self, code: ErrorCode) -> Error:
        error = await self.hear(Error)
        assert error.code is code, error
        return error

    async def closed(self) -> int | None:
        """Read to the end; gives the close code."""
        try:
            while True:
                await self.next()
        except ConnectionClosed:
            return self.socket.close_code

    def all(self, kind: type[M]) -> list[M]:
        return [item for item in self.log if isinstance(item, kind)]

    def audio(self, context_id: str | None = None) -> bytes:
        """The binary messages; of one context, or of all."""
        chunks, current = [], None
        for item in self.log:
            if isinstance(item, AudioStarted):
                current = item.context_id
            elif isinstance(item, bytes) and context_id in (None, current):
                chunks.append(item)
        return b"".join(chunks)

    def kinds(self) -> list[str]:
        """What came, with neighbouring audio taken together."""
        names: list[str] = []
        for item in self.log:
            name = "audio" if isinstance(item, bytes) else item.type
            if name != "audio" or names[-1:] != ["audio"]:
                names.append(name)
        return names


@asynccontextmanager
async def session(url: str, *, ready: bool = True, **options: Any) -> AsyncIterator[Speaker]:
    """Connect to `ws://host:port`; reads the `ready` unless told not to."""
    path = f"{url}/v1/stream/tts"
    async with connect(path, proxy=None, compression=None, max_size=None, **options) as socket:
        speaker = Speaker(socket)
        if ready:
            await speaker.hear(Ready)
        yield speaker


def open_streams() -> int:
    """How many of the fake engine's streams are neither at their end nor closed."""
    code = FakeEngine.synthesize.__code__
    return sum(
        each.gi_code is code and each.gi_frame is not None
        for each in gc.get_objects()
        if type(each) is GeneratorType
    )


def tone_at(samples: Floats, sample_rate: int) -> float:
    """The strongest frequency, Hz."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 1 << 16))
    return float(spectrum.argmax() * sample_rate / (1 << 16))


def heard_tones(pcm: bytes, words: list[str], sample_rate: int = SAMPLE_RATE) -> list[float]:
    """The tone in the place of each word of the fake engine's speech, one after the other."""
    samples = np.frombuffer(pcm, dtype="<i2").astype(np.float32)
    tones, at = [], 0
    for word in words:
        length = len(word) * sample_rate // 25
        tones.append(tone_at(samples[at : at + length], sample_rate))
        at += length + sample_rate // 50
    assert at == len(samples)
    return tones
