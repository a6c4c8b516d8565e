"""A call from Twilio as a conversation sees it: a media stream over one WebSocket.

Twilio plays what it is given, by its own clock, and forgets it when told to (`clear`); it knows no
pause and no transfer. So it is fed just ahead of its playing, and when the call leaves the stream,
Twilio asks over HTTP how it goes on: see :class:`After`.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from starlette.websockets import WebSocket, WebSocketDisconnect

from examples.twilio import messages
from examples.twilio.config import AudioConfig
from examples.twilio.tones import key_tones
from examples.voice_agent.feeding import Feeder
from examples.voice_agent.inbox import Inbox
from examples.voice_agent.outbox import Outbox
from examples.voice_agent.playout import FRAME_MS
from examples.voice_agent.transport import (
    GIVEN_BACK,
    TRANSFERRED,
    AudioIn,
    CallInfo,
    Digit,
    HungUp,
    MarkPlayed,
    TransportClosed,
    TransportEvent,
)
from services.shared.audio.pcm import AudioFormat

log = structlog.get_logger(__name__)

LARGEST = 64 << 10
"""Bytes of one message. Twilio's hold 20 ms; proxies may gather some."""
_SEND_S = 5.0
_MARKS = 1000
"""Marks that may be under way; Twilio answers each."""
_NORMAL_CLOSURE = 1000


@dataclass(frozen=True, slots=True)
class After:
    """What becomes of a call whose stream has ended."""

    dial: str | None = None
    """The number to put the caller through to."""
    failed: bool = False
    """We could not serve it: to the fallback, or an apology. Otherwise it is hung up."""
    caller_left: bool = False
    """Nobody is there any more to go on."""


class TwilioTransport:
    """See :class:`examples.voice_agent.transport.CallTransport`.

    :meth:`run`, as a task, carries audio both ways; it ends with the call.

    Args:
        socket: after its `start` message.
        number_of: what Twilio dials for a target; raises ValueError where there is no such thing.
        decide: told what becomes of the call, before its stream ends.
        on_dropped: told of bytes of the caller that were not read in time.
    """

    def __init__(
        self,
        socket: WebSocket,
        stream_sid: str,
        info: CallInfo,
        audio: AudioConfig,
        number_of: Callable[[str], str],
        decide: Callable[[After], None],
        on_dropped: Callable[[int], object],
    ) -> None:
        self._socket = socket
        self._stream_sid = stream_sid
        self._info = info
        self._number_of = number_of
        self._decide = decide
        bytes_per_ms = messages.FORMAT.bytes_per_s // 1000
        self._inbox = Inbox(bytes_per_ms * audio.inbox_ms, on_dropped)
        self._outbox = Outbox(
            bytes_per_ms * FRAME_MS, messages.SILENCE, bytes_per_ms * audio.buffer_ms
        )
        self._feeder = Feeder(self._outbox, audio.lead_ms / 1000, self._play, self._set_mark)
        self._marks: dict[str, str] = {}
        """Our numbers, which come back, and the names that they stand for."""
        self._mark_number = 0
        self._answered = False
        self._unreadable = 0
        self._over: HungUp | None = None

    @property
    def info(self) -> CallInfo:
        return self._info

    @property
    def audio_format(self) -> AudioFormat:
        return messages.FORMAT

    @property
    def dropped_bytes(self) -> int:
        """Of the caller's audio, which nobody took in time."""
        return self._inbox.dropped_bytes

    async def run(self) -> None:
        """Until Twilio ends the stream, or we do."""
        feeding = asyncio.create_task(self._feeder.run(), name="twilio-feed")
        try:
            while self._over is None:
                self._take(await self._socket.receive())
        except (WebSocketDisconnect, RuntimeError):
            self._end(HungUp("the stream was lost", by_caller=True), After(failed=True))
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)

    def events(self) -> AsyncIterator[TransportEvent]:
        return self._inbox.events()

    async def answer(self) -> None:
        """Twilio has, before it opened the stream; until now the caller heard silence."""
        self._check()
        self._answered = True

    async def send_audio(self, data: bytes) -> None:
        self._check()
        await self._outbox.send(data)

    async def mark(self, name: str) -> None:
        self._check()
        self._outbox.mark(name)

    async def pause(self) -> None:
        """What Twilio has got is still heard: `audio.lead_ms`."""
        self._check()
        async with self._feeder.order:
            self._feeder.paused = True

    async def resume(self) -> None:
        self._check()
        self._feeder.paused = False
        self._outbox.wake()

    async def flush(self) -> None:
        self._check()
        self._outbox.flush()
        async with self._feeder.order:
            self._marks.clear()  # Twilio answers them now, though nobody heard what was before
            await self._send(messages.clear(self._stream_sid))
            self._feeder.paused = False
            self._feeder.queue.flush(time.monotonic())
        self._outbox.wake()

    async def send_digits(self, digits: str) -> None:
        """As sounds, after what was sent before.

        Raises:
            ValueError: not digits.
        """
        await self.send_audio(key_tones(messages.FORMAT, digits))

    async def transfer(self, target: str) -> None:
        """
        Raises:
            ValueError: there is no such number; the call goes on.
        """
        self._check()
        number = self._number_of(target)
        await self._leave(HungUp(TRANSFERRED, by_caller=False), After(dial=number))

    async def give_back(self) -> None:
        self._check()
        await self._leave(HungUp(GIVEN_BACK, by_caller=False), After(failed=True))

    async def hang_up(self, cause: str = "normal") -> None:
        self._check()
        failed = cause == "failed" and not self._answered  # else we have said so ourselves
        await self._leave(HungUp("Normal Clearing", by_caller=False), After(failed=failed))

    async def cut_off(self) -> None:
        """End a call that took too long."""
        self._check()
        await self._leave(HungUp("the call took too long", by_caller=False), After())

    async def _leave(self, event: HungUp, after: After) -> None:
        """Twilio goes on as soon as the stream is closed."""
        self._end(event, after)
        try:
            async with asyncio.timeout(_SEND_S):
                await self._socket.close(_NORMAL_CLOSURE)
        except (WebSocketDisconnect, RuntimeError, TimeoutError):
            log.debug("stream_was_closed", call=self._info.call_id)

    def _take(self, message: Mapping[str, Any]) -> None:
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect
        text = message.get("text")
        if not isinstance(text, str):
            return
        try:
            self._told(messages.parse(text))
        except ValueError as error:
            self._unreadable += 1
            if self._unreadable == 1:  # there may be fifty a second
                log.warning("stream_message_unreadable", call=self._info.call_id, why=str(error))

    def _told(self, message: messages.Message) -> None:
        """Raises ValueError: its audio is none."""
        match message:
            case messages.Media(media=media) if media.track == "inbound":
                self._inbox.put(AudioIn(media.audio(), time.monotonic()))
            case messages.Mark(mark=mark):
                if name := self._marks.pop(mark.name, None):
                    self._inbox.put(MarkPlayed(name, time.monotonic()))
            case messages.Dtmf(dtmf=key):
                self._inbox.put(Digit(key.digit))
            case messages.Stop():
                self._end(HungUp("Normal Clearing", by_caller=True), After(caller_left=True))

    async def _play(self, frames: bytes) -> None:
        await self._send(messages.media(self._stream_sid, frames))

    async def _set_mark(self, name: str) -> None:
        self._mark_number += 1
        number = str(self._mark_number)
        self._marks[number] = name
        if len(self._marks) > _MARKS:
            del self._marks[next(iter(self._marks))]
        await self._send(messages.mark(self._stream_sid, number))

    async def _send(self, message: str) -> None:
        """
        Raises:
            TransportClosed: the stream is gone, or Twilio does not read.
        """
        try:
            async with asyncio.timeout(_SEND_S):
                await self._socket.send_text(message)
        except (WebSocketDisconnect, RuntimeError, TimeoutError) as error:
            self._end(HungUp("the stream was lost", by_caller=True), After(failed=True))
            raise TransportClosed(f"the stream is gone: {error!r}") from None

    def _end(self, event: HungUp, after: After) -> None:
        """The first word counts."""
        if self._over is None:
            self._over = event
            self._decide(after)
            self._inbox.put(event)
            self._outbox.close()

    def _check(self) -> None:
        if self._over is not None:
            raise TransportClosed(self._over.cause)
