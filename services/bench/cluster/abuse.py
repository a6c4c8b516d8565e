"""Clients that behave badly, beside callers who should not notice."""

import asyncio
import contextlib
import json
import os
import socket
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from services.bench.cluster.manner import Manner

Abuse = Literal["slow", "malicious"]

_EACH = 5
"""Clients of each kind, on each service."""
_FLOOD_S = 10.0
_TALK_S = 20.0
_WITHIN_S = 60.0
"""The services must have done with each by then; slow ones are cut off after `limits.send_s`."""
_LONG_TEXT = "The train leaves at noon, and nobody knows when it will arrive. " * 600
_OVERSIZED = 3 << 20
_SILENCE = bytes(640)


@dataclass(slots=True)
class Told:
    """What became of them."""

    notes: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


async def abuse(kind: Abuse, manner: Manner) -> Told:
    """Let them loose from a process of their own, and wait until the services have done with them.

    So what they cost is not taken from the callers' event loop.
    """
    keys = {"VOICE_ASR_KEY": manner.asr_key, "VOICE_TTS_KEY": manner.tts_key}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", __name__, kind, manner.asr_url, manner.tts_url),
        env=os.environ | {name: key for name, key in keys.items() if key},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(2 * _WITHIN_S):
            said, complaints = await process.communicate()
    except TimeoutError:
        process.kill()
        return Told(faults=["the abusers did not come to an end"])
    if process.returncode != 0:
        return Told(faults=[f"the abusers failed: {complaints.decode(errors='replace')[-300:]}"])
    counted: dict[str, int] = json.loads(said)
    notes = [f"{count}× {what}" for what, count in sorted(counted.items())]
    return Told(notes, [note for note in notes if note.endswith(_UNENDED) or "1011" in note])


async def _all(kind: Abuse, asr_url: str, tts_url: str) -> dict[str, int]:
    """What became of each client → how many."""
    clients = _SLOW if kind == "slow" else _MALICIOUS
    jobs = [
        (f"{side} {name}", _outcome(client, f"{url}/v1/stream/{side}", key))
        for side, url, key in (
            ("asr", asr_url, os.environ.get("VOICE_ASR_KEY")),
            ("tts", tts_url, os.environ.get("VOICE_TTS_KEY")),
        )
        for name, (only, client) in clients.items()
        if only in (None, side)
        for _ in range(_EACH)
    ]
    outcomes = await asyncio.gather(*(job for _, job in jobs))
    return Counter(f"{name}: {what}" for (name, _), what in zip(jobs, outcomes, strict=True))


_UNENDED = "was not ended"

Client = Callable[[str, str | None], Awaitable[str]]


async def _outcome(client: Client, url: str, key: str | None) -> str:
    """How it ended, in a few words."""
    try:
        async with asyncio.timeout(_WITHIN_S):
            return await client(url, key)
    except TimeoutError:
        return _UNENDED
    except InvalidHandshake as error:
        return f"refused ({type(error).__name__})"
    except ConnectionClosed as error:
        closed = error.rcvd
        return f"closed {closed.code} {closed.reason}".strip() if closed else "closed 1006"
    except OSError as error:
        return type(error).__name__


@contextlib.asynccontextmanager
async def _socket(url: str, key: str | None):  # type: ignore[no-untyped-def]
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with connect(
        url,
        additional_headers=headers,
        compression=None,
        proxy=None,
        ping_interval=None,
        max_queue=1,
        close_timeout=1,
        max_size=None,
    ) as socket_:
        yield socket_


async def _ended(socket_: ClientConnection) -> str:
    """Read until the service closes."""
    async for _ in socket_:
        pass
    return f"closed {socket_.close_code} {socket_.close_reason}".strip()


# Clients that do not read.


async def _does_not_read_audio(url: str, key: str | None) -> str:
    """Asks for an hour of speech and reads nothing."""
    async with _socket(url, key) as socket_:
        await socket_.recv()
        await socket_.send(
            json.dumps({"type": "start", "encoding": "pcm_f32le", "sample_rate": 48000})
        )
        for _ in range(4):
            await socket_.send(json.dumps({"type": "text", "text": _LONG_TEXT[:19_000]}))
        await socket_.send(json.dumps({"type": "end"}))
        return await _gone(socket_)


async def _does_not_read_finals(url: str, key: str | None) -> str:
    """Talks without a pause and reads nothing."""
    async with _socket(url, key) as socket_:
        await socket_.recv()
        loud = os.urandom(64_000)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_TALK_S):
                while True:
                    await socket_.send(loud)
                    await socket_.send('{"type": "flush"}')
                    await asyncio.sleep(0.05)
        return f"held back for {_TALK_S:g} s"


async def _gone(socket_: ClientConnection) -> str:
    """Wait without reading until the connection is lost."""
    while True:
        await asyncio.sleep(0.5)
        await socket_.ping()
        transport = socket_.transport
        if transport.is_closing():
            return "cut off"


# Clients that mean harm.


async def _oversized(url: str, key: str | None) -> str:
    async with _socket(url, key) as socket_:
        await socket_.send(bytes(_OVERSIZED))
        return await _ended(socket_)


async def _garbage(url: str, key: str | None) -> str:
    async with _socket(url, key) as socket_:
        await socket_.send('{"type": "start", "type": ' + "[" * 10_000)
        return await _ended(socket_)


async def _no_utf8(url: str, key: str | None) -> str:
    async with _socket(url, key) as socket_:
        socket_.protocol.send_text(b"\xff\xfe\xfd")
        for data in socket_.protocol.data_to_send():
            socket_.transport.write(data)
        return await _ended(socket_)


async def _broken_frames(url: str, key: str | None) -> str:
    async with _socket(url, key) as socket_:
        socket_.transport.write(b"\xff" * 64)  # reserved bits and an unknown opcode
        return await _ended(socket_)


async def _flood(url: str, key: str | None) -> str:
    """Small messages as fast as the line takes them."""
    message = b"\0\0" if url.endswith("asr") else '{"type": "flush"}'
    async with _socket(url, key) as socket_:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FLOOD_S):
                while True:
                    await socket_.send(message)
                    await asyncio.sleep(0)  # or the others of this process could not misbehave
        return f"held back for {_FLOOD_S:g} s"


async def _half_handshake(url: str, key: str | None) -> str:
    """Begins a request, and says no more."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        writer.write(b"GET /v1/stream/asr HTTP/1.1\r\nHost: x\r\nUpgrade: web")
        await writer.drain()
        await reader.read()
        return "connection closed"
    finally:
        writer.close()


async def _reset(url: str, key: str | None) -> str:
    """Opens sessions and breaks the line, again and again."""
    for _ in range(5):
        async with asyncio.timeout(10):
            socket_ = await connect(url, proxy=None, ping_interval=None)
        if url.endswith("asr"):
            await socket_.send(_SILENCE)
        line = socket_.transport.get_extra_info("socket")
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        socket_.transport.abort()
    return "went away by itself"


_SLOW: dict[str, tuple[str | None, Client]] = {
    "reads no audio": ("tts", _does_not_read_audio),
    "reads no finals": ("asr", _does_not_read_finals),
}
_MALICIOUS: dict[str, tuple[str | None, Client]] = {
    "oversized message": (None, _oversized),
    "garbage": (None, _garbage),
    "text that is no UTF-8": (None, _no_utf8),
    "broken frames": (None, _broken_frames),
    "flood": (None, _flood),
    "half a handshake": (None, _half_handshake),
    "resets": (None, _reset),
}
"""Name → which service they call (None: both) and how."""


def main() -> None:
    """`python -m … KIND ASR_URL TTS_URL`: prints how each client ended as JSON."""
    kind: Abuse = "slow" if sys.argv[1] == "slow" else "malicious"
    sys.stdout.write(json.dumps(asyncio.run(_all(kind, sys.argv[2], sys.argv[3]))))


if __name__ == "__main__":
    main()
