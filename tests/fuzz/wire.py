"""Bytes of HTTP and WebSocket, right and wrong, and what comes back. No client library would."""

import asyncio
import contextlib
import re
import socket
import struct
import zlib
from dataclasses import dataclass, field

_READ = 1 << 16
_HANDSHAKE_S = 10.0
_MOST_READ = 4 << 20
"""More of an answer is not waited for."""
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
_MASK = b"\x00\x00\x00\x00"


@dataclass
class Answer:
    """What a server sent until it closed, or until that was not waited for any longer."""

    data: bytes = b""
    ended: bool = False
    """The server has closed, or has said more than is listened to."""

    @property
    def status(self) -> int | None:
        """Of HTTP."""
        found = re.match(rb"HTTP/1\.1 (\d{3}) ", self.data)
        return int(found[1]) if found else None

    @property
    def header(self) -> bytes:
        return self.data.partition(b"\r\n\r\n")[0]

    @property
    def body(self) -> bytes:
        return self.data.partition(b"\r\n\r\n")[2]


@dataclass
class Told:
    """What a WebSocket's server said after the upgrade."""

    texts: list[str] = field(default_factory=list)
    binary_bytes: int = 0
    close: int | None = None
    """The code of its close frame."""


async def exchange(
    address: tuple[str, int],
    parts: list[bytes],
    wait_s: float,
    *,
    abort: bool = False,
    shake_hands: bool = False,
) -> Answer:
    """Send the parts one by one, and read until the server closes.

    Args:
        wait_s: how long for that, after all is sent.
        abort: reset the connection instead of reading.
        shake_hands: wait for an answer to the first part before the others, as RFC 6455 wants it.
    """
    reader, writer = await asyncio.open_connection(*address)
    answer = Answer()
    reading = asyncio.create_task(_read(reader, answer))
    try:
        with contextlib.suppress(ConnectionError):
            for part in parts:
                writer.write(part)
                await writer.drain()
                if shake_hands and part is parts[0]:
                    await _shaken(answer, reading)
        if abort:
            _reset(writer)
            return answer
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await asyncio.shield(reading)
        return answer
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _shaken(answer: Answer, reading: "asyncio.Task[None]") -> None:
    async with asyncio.timeout(_HANDSHAKE_S):
        while b"\r\n\r\n" not in answer.data and not reading.done():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def _read(reader: asyncio.StreamReader, answer: Answer) -> None:
    try:
        while len(answer.data) < _MOST_READ and (data := await reader.read(_READ)):
            answer.data += data
    except ConnectionError:
        pass
    answer.ended = True


def _reset(writer: asyncio.StreamWriter) -> None:
    """As when a client's machine vanishes: an RST instead of an end."""
    with contextlib.suppress(OSError):  # the service was quicker
        own = writer.get_extra_info("socket")
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def frame(
    opcode: int,
    payload: bytes,
    *,
    fin: bool = True,
    reserved: int = 0,
    masked: bool = True,
    length: int | None = None,
) -> bytes:
    """One WebSocket frame (RFC 6455 §5.2), whose `length` may be a lie."""
    size = len(payload) if length is None else length
    head = bytes([fin << 7 | (reserved & 7) << 4 | opcode])
    mask = 0x80 if masked else 0
    if size < 126:
        head += bytes([mask | size])
    elif size < 1 << 16:
        head += bytes([mask | 126]) + size.to_bytes(2, "big")
    else:
        head += bytes([mask | 127]) + size.to_bytes(8, "big")
    return head + (_MASK if masked else b"") + payload


def bomb(size: int) -> bytes:
    """A deflated payload of `size` zeros, as permessage-deflate would send it."""
    packed = zlib.compressobj(wbits=-15)
    return packed.compress(bytes(size)) + packed.flush(zlib.Z_SYNC_FLUSH)[:-4]


def told(data: bytes) -> Told:
    """The server's frames, as far as they are whole."""
    said, at = Told(), 0
    while at + 2 <= len(data):
        opcode, size, at = data[at] & 15, data[at + 1] & 127, at + 2
        if size >= 126:
            width = 2 if size == 126 else 8
            size, at = int.from_bytes(data[at : at + width], "big"), at + width
        payload, at = data[at : at + size], at + size
        if at > len(data):
            break
        if opcode == TEXT:
            said.texts.append(payload.decode())
        elif opcode == BINARY:
            said.binary_bytes += size
        elif opcode == CLOSE:
            said.close = int.from_bytes(payload[:2], "big") if payload else 1005
    return said
