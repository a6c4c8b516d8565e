"""A call without a network: the caller's audio comes from memory, the agent's is kept.

For tests, benchmarks and the doctor. It runs in real time, in frames of 20 ms, as a telephone line
does, and its recording has both directions on one clock.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator

from examples.voice_agent.transport import (
    AudioIn,
    CallInfo,
    Digit,
    HungUp,
    MarkPlayed,
    TransportClosed,
    TransportEvent,
)
from services.shared.audio.pcm import AudioFormat, Encoding

FRAME_S = 0.02
_ROOM_S = 1.0
"""Audio that may wait to be played before `send_audio` waits."""
_MAX_EVENTS = 1500
"""30 s of audio that nobody took; the oldest goes first."""
TELEPHONE = AudioFormat(Encoding.MULAW, 8000)


class LoopbackTransport:
    """One call. :meth:`run`, as a task, is the line; it ends with the call."""

    def __init__(self, info: CallInfo, audio_format: AudioFormat = TELEPHONE) -> None:
        self.answered_at: float | None = None
        self.began_at = 0.0
        """When the recording began."""
        self.caller = bytearray()
        self.agent = bytearray()
        """The recording: equally long, from `began_at` on, silence included."""
        self.transferred_to: str | None = None
        self.given_back = False
        self.digits = ""
        """That the agent sent."""
        self.dropped_events = 0
        self._info = info
        self._format = audio_format
        self._frame = round(FRAME_S * audio_format.sample_rate) * audio_format.frame_bytes
        self._silence = audio_format.encode(audio_format.decode(bytes(self._frame)) * 0)
        self._events: deque[TransportEvent] = deque()
        self._new_event = asyncio.Event()
        self._speech = bytearray()
        """Of the caller, to come."""
        self._playing: deque[bytearray | str] = deque()
        """Audio and marks in their order."""
        self._room = asyncio.Condition()
        self._paused = False
        self._over: HungUp | None = None

    # What the caller does.

    def say(self, audio: bytes) -> None:
        """Speak after what is being said; in the line's format."""
        self._speech += audio

    @property
    def caller_speaks(self) -> bool:
        return bool(self._speech)

    def press(self, digit: str) -> None:
        self._put(Digit(digit, 100))

    def caller_hangs_up(self) -> None:
        self._end(HungUp("Normal Clearing", by_caller=True))

    async def run(self) -> None:
        """The line, until the call is over."""
        self.began_at = time.monotonic()
        frames = 0
        while self._over is None:
            frames += 1
            await asyncio.sleep(self.began_at + frames * FRAME_S - time.monotonic())
            self._put(AudioIn(self._caller_frame(), time.monotonic()))
            self.agent += self._agent_frame()
            async with self._room:
                self._room.notify_all()
        async with self._room:  # whoever waits for room must hear of the end
            self._room.notify_all()

    def _caller_frame(self) -> bytes:
        frame = bytes(self._speech[: self._frame])
        del self._speech[: self._frame]
        frame += self._silence[len(frame) :]
        self.caller += frame
        return frame

    def _agent_frame(self) -> bytes:
        frame = bytearray()
        while self._playing and not self._paused and len(frame) < self._frame:
            head = self._playing[0]
            if isinstance(head, str):
                self._playing.popleft()
                self._put(MarkPlayed(head, time.monotonic()))
                continue
            taken = head[: self._frame - len(frame)]
            frame += taken
            del head[: len(taken)]
            if not head:
                self._playing.popleft()
        while self._playing and not self._paused and isinstance(self._playing[0], str):
            self._put(MarkPlayed(str(self._playing.popleft()), time.monotonic()))
        return bytes(frame) + self._silence[len(frame) :]

    # The transport.

    @property
    def info(self) -> CallInfo:
        return self._info

    @property
    def audio_format(self) -> AudioFormat:
        return self._format

    async def events(self) -> AsyncIterator[TransportEvent]:
        while True:
            while self._events:
                event = self._events.popleft()
                yield event
                if isinstance(event, HungUp):
                    return
            self._new_event.clear()
            await self._new_event.wait()

    async def answer(self) -> None:
        self._check()
        self.answered_at = time.monotonic()

    async def send_audio(self, data: bytes) -> None:
        async with self._room:
            await self._room.wait_for(lambda: self._over or self._waiting_s() < _ROOM_S)
            self._check()
            self._playing.append(bytearray(data))

    async def mark(self, name: str) -> None:
        self._check()
        self._playing.append(name)

    async def pause(self) -> None:
        self._check()
        self._paused = True

    async def resume(self) -> None:
        self._check()
        self._paused = False

    async def flush(self) -> None:
        self._check()
        self._playing.clear()
        self._paused = False

    async def send_digits(self, digits: str) -> None:
        self._check()
        self.digits += digits

    async def transfer(self, target: str) -> None:
        self._check()
        self.transferred_to = target
        self._end(HungUp("transferred", by_caller=False))

    async def give_back(self) -> None:
        self._check()
        self.given_back = True
        self._end(HungUp("given back", by_caller=False))

    async def hang_up(self, cause: str = "normal") -> None:
        self._check()
        self._end(HungUp(cause, by_caller=False))

    def _waiting_s(self) -> float:
        waiting = sum(len(piece) for piece in self._playing if not isinstance(piece, str))
        return waiting / self._format.bytes_per_s

    def _end(self, event: HungUp) -> None:
        if self._over is None:
            self._put(event)
            self._over = event

    def _put(self, event: TransportEvent) -> None:
        if self._over is not None:
            return
        if len(self._events) >= _MAX_EVENTS:
            self._events.popleft()
            self.dropped_events += 1
        self._events.append(event)
        self._new_event.set()

    def _check(self) -> None:
        if self._over is not None:
            raise TransportClosed(self._over.cause)
