"""One simulated caller: sends audio at the pace of a microphone and notes what comes back when."""

import asyncio
import time
from dataclasses import dataclass, field

from websockets.exceptions import ConnectionClosed

from services.asr.messages import Encoding, ServerMessage, Start
from services.bench.script import Script
from services.client.asr import AsrStream, open_asr
from services.client.connection import ServiceError

_DRAIN_S = 60.0
"""Longest wait for what is left after the last sample."""


@dataclass(frozen=True, slots=True)
class Line:
    """How callers connect."""

    url: str
    """`ws://host:port`"""
    key: str | None = None
    chunk_ms: int = 20
    partials: bool = True


@dataclass(slots=True)
class Call:
    """What happened in one call; times in seconds since its first sample was due."""

    script: Script
    events: list[tuple[float, ServerMessage]] = field(default_factory=list)
    lateness_s: list[float] = field(default_factory=list)
    """How late each chunk was sent: shows whether the load generator itself kept pace."""
    sent_s: float = 0.0
    error: str | None = None


async def place_call(line: Line, script: Script) -> Call:
    """Make one call to its end; failures are noted in it, not raised."""
    call = Call(script)
    try:
        async with (
            asyncio.timeout(script.duration_s + _DRAIN_S),
            open_asr(line.url, _start(line, script), key=line.key, reconnect=None) as stream,
        ):
            began = time.monotonic()
            speaking = asyncio.create_task(_speak(stream, call, line, began))
            try:
                async for at, message in stream.events():
                    call.events.append((at - began, message))
            finally:
                speaking.cancel()
                await asyncio.gather(speaking, return_exceptions=True)
    except TimeoutError:
        call.error = f"the service did not finish within {_DRAIN_S:.0f} s of the last audio"
    except (ServiceError, ConnectionClosed, OSError) as error:
        call.error = f"{type(error).__name__}: {error}"
    return call


def _start(line: Line, script: Script) -> Start:
    audio = script.wire.format
    languages = {spoken.language for spoken in script.spoken}
    return Start(
        encoding=Encoding(audio.encoding.value),
        sample_rate=audio.sample_rate,
        language=languages.pop() if len(languages) == 1 else None,
        partials=line.partials,
    )


async def _speak(stream: AsrStream, call: Call, line: Line, began: float) -> None:
    """Send each chunk when its last sample would have been recorded, never earlier."""
    audio = call.script.wire.format
    sent = 0
    for chunk in call.script.chunks(line.chunk_ms):
        sent += len(chunk)
        due = began + sent / audio.bytes_per_s
        if (early := due - time.monotonic()) > 0:
            await asyncio.sleep(early)
        call.lateness_s.append(time.monotonic() - due)
        await stream.send_audio(chunk)
        call.sent_s = sent / audio.bytes_per_s
    await stream.stop()
