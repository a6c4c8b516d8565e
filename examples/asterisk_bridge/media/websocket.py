"""Audio over Asterisk's chan_websocket in server mode: we dial Asterisk, it keeps the clock.

Asterisk plays from a queue of its own, which it can pause, continue and flush at once, and tells
when a mark in it is reached. What makes it go wrong, and what is done about it here:

- A flush leaves a pause in force: a flush always continues, too.
- Asterisk never gives up what it has queued: we feed it just ahead of its playing, never silence,
  and ask every second how long its queue is.
- If we stopped reading, Asterisk would block holding locks: the reader never waits for anybody.
- It ignores commands of more than 128 bytes: marks travel under short numbers of ours.
- A frame that is not whole would be dropped: the last one is filled up with silence.
"""

import asyncio
import json
import time
from collections.abc import Mapping
from typing import Any

import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.typing import Subprotocol

from examples.asterisk_bridge.config import MediaConfig
from examples.asterisk_bridge.media.base import (
    FORMATS,
    Deliver,
    MediaError,
    MediaFormat,
)
from examples.voice_agent.feeding import Feeder
from examples.voice_agent.outbox import Outbox
from examples.voice_agent.playout import FRAME_S
from examples.voice_agent.transport import AudioIn, MarkPlayed, TransportClosed

log = structlog.get_logger(__name__)

_CONNECTION_ID = "MEDIA_WEBSOCKET_CONNECTION_ID"
_COMMAND_S = 2.0
"""Sending takes no time unless Asterisk has stopped reading."""
_STATUS_S = 1.0
_FRESH_S = 2 * FRAME_S


class WebSocketMedia:
    """See :class:`..base.Media`.

    Args:
        url: of Asterisk's HTTP server.
    """

    def __init__(self, config: MediaConfig, url: str, deliver: Deliver) -> None:
        self.format: MediaFormat = FORMATS[config.format]
        self._config = config
        self._url = url.rstrip("/").replace("http", "ws", 1)
        self._deliver = deliver
        limit = self.format.audio.bytes_per_s * config.buffer_ms // 1000
        self._outbox = Outbox(self.format.frame_bytes, self.format.silence, limit)
        self._lead_s = config.lead_ms / 1000
        self._feeder = Feeder(self._outbox, self._lead_s, self._play, self._set_mark)
        self._queue = self._feeder.queue
        self._socket: ClientConnection | None = None
        self._marks: dict[str, str] = {}
        self._flushed_marks: dict[str, str] = {}
        """One of them may have been reached while the flush was under way."""
        self._mark_number = 0
        self._asked_at = 0.0

    @property
    def needs(self) -> tuple[str, ...]:
        return (_CONNECTION_ID,)

    async def open(self) -> Mapping[str, str]:
        return {
            "transport": "websocket",
            "encapsulation": "none",
            "connection_type": "server",
            "external_host": "INCOMING",
            "format": self.format.name,
            "transport_data": "f(json)",
        }

    async def connect(self, variables: Mapping[str, str]) -> None:
        url = f"{self._url}/media/{variables[_CONNECTION_ID]}"
        try:
            self._socket = await connect(
                url,
                subprotocols=[Subprotocol("media")],
                open_timeout=self._config.connect_s,
                close_timeout=1,
                ping_interval=None,  # it answers only while its channel is in a bridge
                max_size=1 << 20,
                compression=None,
                proxy=None,
            )
        except (OSError, TimeoutError, InvalidHandshake) as error:
            why = str(error) or type(error).__name__
            raise MediaError(f"{url} cannot be reached: {why}") from None

    async def run(self) -> None:
        socket = self._connected()
        tasks = [
            asyncio.create_task(self._read(socket), name="media-read"),
            asyncio.create_task(self._feeder.run(), name="media-feed"),
            asyncio.create_task(self._ask(), name="media-ask"),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except (ConnectionClosed, TransportClosed, TimeoutError) as error:
            raise MediaError(f"the media socket was lost: {error}") from None
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        raise MediaError("the media socket was closed by Asterisk")

    async def close(self) -> None:
        self._outbox.close()
        socket, self._socket = self._socket, None
        if socket is not None:
            await socket.close()

    async def send_audio(self, data: bytes) -> None:
        await self._outbox.send(data)

    async def mark(self, name: str) -> None:
        self._outbox.mark(name)

    async def pause(self) -> None:
        async with self._feeder.order:
            await self._command("PAUSE_MEDIA")
            self._feeder.paused = True
            self._queue.pause(time.monotonic())

    async def resume(self) -> None:
        async with self._feeder.order:
            await self._continue()
        self._outbox.wake()

    async def flush(self) -> None:
        self._outbox.flush()
        async with self._feeder.order:
            await self._command("FLUSH_MEDIA")
            await self._continue()
            self._queue.flush(time.monotonic())
            self._flushed_marks, self._marks = self._marks, {}
        self._outbox.wake()

    async def _continue(self) -> None:
        await self._command("CONTINUE_MEDIA")
        self._feeder.paused = False
        self._queue.resume(time.monotonic())

    async def _play(self, frames: bytes) -> None:
        await self._send(frames)

    async def _set_mark(self, name: str) -> None:
        self._mark_number += 1
        number = str(self._mark_number)
        self._marks[number] = name
        await self._command("MARK_MEDIA", correlation_id=number)

    async def _ask(self) -> None:
        while True:
            await asyncio.sleep(_STATUS_S)
            self._asked_at = time.monotonic()
            await self._command("GET_STATUS")

    async def _read(self, socket: ClientConnection) -> None:
        async for message in socket:
            if isinstance(message, bytes):
                self._deliver(AudioIn(message, time.monotonic()))
            else:
                self._told(message)

    def _told(self, message: str) -> None:
        """What cannot be read is passed over: the call's audio comes on the same socket."""
        try:
            event = json.loads(message)
            if isinstance(event, dict):
                self._on_event(event)
                return
        except (ArithmeticError, RecursionError, TypeError, ValueError):
            pass
        log.warning("media_event_unreadable", event_text=message[:100])

    def _on_event(self, event: dict[str, Any]) -> None:
        """Raises TypeError, ValueError, OverflowError: what should be a number is none."""
        match event.get("event"):
            case "MEDIA_MARK_PROCESSED":
                self._mark_reached(str(event.get("correlation_id")))
            case "STATUS":
                self._status(int(event.get("queue_length", 0)))
            case "MEDIA_XOFF":
                self._feeder.full = True
            case "MEDIA_XON":
                self._feeder.full = False
                self._outbox.wake()
            case "ERROR":
                log.error("media_error", why=event.get("error_text"))
            case "MEDIA_START":
                self._check_frame(int(event.get("optimal_frame_size", 0)))

    def _mark_reached(self, number: str) -> None:
        name = self._marks.pop(number, None) or self._flushed_marks.pop(number, None)
        if name is not None:
            self._deliver(MarkPlayed(name, time.monotonic()))

    def _status(self, frames: int) -> None:
        now = time.monotonic()
        if now - self._asked_at < _FRESH_S:  # else one of us was held up, and it is old
            self._queue.observed(now, frames)
        if frames * FRAME_S > 2 * self._lead_s + 0.2:
            log.warning("media_queue_long", queue_ms=round(frames * FRAME_S * 1000))

    def _check_frame(self, size: int) -> None:
        if size != self.format.frame_bytes:
            log.error("media_frame_size", asterisk=size, ours=self.format.frame_bytes)

    async def _command(self, command: str, **fields: str) -> None:
        await self._send(json.dumps({"command": command, **fields}, separators=(",", ":")))

    async def _send(self, message: str | bytes) -> None:
        """Raises: TransportClosed: gone, or Asterisk does not read."""
        socket = self._connected()
        try:
            async with asyncio.timeout(_COMMAND_S):
                await socket.send(message)
        except TimeoutError:
            raise TransportClosed("Asterisk does not read its media socket") from None
        except ConnectionClosed as error:
            raise TransportClosed(f"the media socket is closed: {error}") from None

    def _connected(self) -> ClientConnection:
        if self._socket is None:
            raise TransportClosed("the media socket is closed")
        return self._socket
