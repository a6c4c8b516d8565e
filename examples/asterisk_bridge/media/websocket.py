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
    FRAME_S,
    Deliver,
    MediaError,
    MediaFormat,
)
from examples.asterisk_bridge.media.outbox import Outbox
from examples.asterisk_bridge.media.pacing import QueueClock
from examples.voice_agent.transport import AudioIn, MarkPlayed, TransportClosed

log = structlog.get_logger(__name__)

_CONNECTION_ID = "MEDIA_WEBSOCKET_CONNECTION_ID"
_FRAMES_A_MESSAGE = 5
_COMMAND_S = 2.0
"""Sending takes no time unless Asterisk has stopped reading."""
_STATUS_S = 1.0
_FRESH_S = 2 * FRAME_S
_PAD_BELOW_S = 2 * FRAME_S
"""A frame that is not whole waits for more audio until Asterisk has only so much left."""


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
        self._queue = QueueClock(FRAME_S)
        self._lead_s = config.lead_ms / 1000
        self._socket: ClientConnection | None = None
        self._order = asyncio.Lock()
        """Held while something is taken and sent: a flush overtakes all of it or nothing."""
        self._paused = False
        self._full = False
        self._marks: dict[str, str] = {}
        self._flushed_marks: dict[str, str] = {}
        """One of them may have been reached while the flush was under way."""
        self._mark_number = 0
        self._asked_at = 0.0
        self._part_since: float | None = None

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
            asyncio.create_task(self._feed(), name="media-feed"),
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
        async with self._order:
            await self._command("PAUSE_MEDIA")
            self._paused = True
            self._queue.pause(time.monotonic())

    async def resume(self) -> None:
        async with self._order:
            await self._continue()
        self._outbox.wake()

    async def flush(self) -> None:
        self._outbox.flush()
        async with self._order:
            await self._command("FLUSH_MEDIA")
            await self._continue()
            self._queue.flush(time.monotonic())
            self._flushed_marks, self._marks = self._marks, {}
        self._outbox.wake()

    async def _continue(self) -> None:
        await self._command("CONTINUE_MEDIA")
        self._paused = False
        self._queue.resume(time.monotonic())

    async def _feed(self) -> None:
        """Keep Asterisk's queue filled just so far."""
        while True:
            async with self._order:
                wait_s = await self._feed_some()
            await self._outbox.news(wait_s)

    async def _feed_some(self) -> float | None:
        """Send what is due.

        Returns:
            seconds until there is more to be done; None when only news make more to be done.
        """
        while not self._paused and not self._full:
            lead_s = self._queue.lead_s(time.monotonic())
            if lead_s >= self._lead_s:
                return lead_s - self._lead_s + FRAME_S
            pad = self._part_has_waited() and lead_s < _PAD_BELOW_S
            sent = await self._feed_message(pad=pad)
            if not sent:
                if self._outbox.buffer.is_empty:
                    return None
                return max(lead_s - _PAD_BELOW_S, 0) + FRAME_S / 4
        return None

    async def _feed_message(self, *, pad: bool) -> bool:
        """One message of a few frames, up to the next mark, and the marks there."""
        frames: list[bytes] = []
        marks: tuple[str, ...] = ()
        while len(frames) < _FRAMES_A_MESSAGE and not marks:
            frame = self._outbox.take(pad=pad and not frames)
            if frame is None:
                break
            if frame.data:
                frames.append(frame.data)
            marks = frame.marks
        if frames:
            self._part_since = None
            await self._send(b"".join(frames))
            self._queue.sent(time.monotonic(), len(frames))
        for name in marks:
            self._mark_number += 1
            number = str(self._mark_number)
            self._marks[number] = name
            await self._command("MARK_MEDIA", correlation_id=number)
        return bool(frames or marks)

    def _part_has_waited(self) -> bool:
        """Whether what is there is no whole frame, and nothing was added for the length of one."""
        buffer, now = self._outbox.buffer, time.monotonic()
        if buffer.has_whole_frame or not buffer.waiting_bytes:
            self._part_since = None
        elif self._part_since is None:
            self._part_since = now
        return self._part_since is not None and now - self._part_since >= FRAME_S

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
                self._full = True
            case "MEDIA_XON":
                self._full = False
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
