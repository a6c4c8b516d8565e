"""Sends the agent's audio to the transport: utterances in turn, with a mark after each clause."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto

from examples.voice_agent.events import AudioSent, Event, Heard, TimedWord
from examples.voice_agent.transport import CallTransport

_CHUNK_S = 0.1
_CLAUSE_ENDS = frozenset(".,;:!?…。、，？！；：")
_QUOTES = "\"'”’)»"
_CONTROL_S = 3.0
"""Time limit of pausing, resuming and flushing."""
_SEND_S = 15.0
"""Time limit of sending, in which the transport may wait for room."""


class _Control(Enum):
    PAUSE = auto()
    RESUME = auto()
    FLUSH = auto()


@dataclass(slots=True)
class _Track:
    """The audio of one utterance. Positions are bytes."""

    utterance: int
    unsent: bytearray = field(default_factory=bytearray)
    sent: int = 0
    base: int = 0
    """Where the current attempt begins."""
    marks: deque[int] = field(default_factory=deque)
    complete: bool = False

    @property
    def total(self) -> int:
        return self.sent + len(self.unsent)


class Mouth:
    """The only one who sends audio. Its methods never wait; :meth:`run` does what they ask for."""

    def __init__(
        self,
        transport: CallTransport,
        tell: Callable[[Event], None],
        on_sent: Callable[[bytes], None] | None = None,
    ) -> None:
        self._transport = transport
        self._tell = tell
        self._on_sent = on_sent
        audio = transport.audio_format
        self._bytes_per_ms = audio.bytes_per_s / 1000
        self._frame_bytes = audio.frame_bytes
        self._chunk = int(_CHUNK_S * audio.sample_rate) * audio.frame_bytes
        self._tracks: dict[int, _Track] = {}
        self._queue: deque[_Track] = deque()
        self._marks: dict[str, Heard] = {}
        self._last_mark = 0
        self._controls: asyncio.Queue[_Control] = asyncio.Queue()
        self._paused = False
        self._flushes = 0
        """That have not been carried out: until then nothing is sent."""
        self._wake = asyncio.Event()

    # Audio comes.

    def add(self, utterance: int, audio: bytes) -> None:
        self._track(utterance).unsent += audio
        self._wake.set()

    def add_words(self, utterance: int, words: tuple[TimedWord, ...]) -> None:
        """Words of the current attempt; a mark is set where a clause ends."""
        track = self._track(utterance)
        for word in words:
            if word.word.rstrip(_QUOTES)[-1:] in _CLAUSE_ENDS:
                at = track.base + self._whole(word.end_ms * self._bytes_per_ms)
                if at > max(track.sent, track.marks[-1] if track.marks else 0):
                    track.marks.append(at)

    def begin_attempt(self, utterance: int) -> None:
        """More of the utterance comes from another context, whose times begin at 0."""
        track = self._track(utterance)
        track.base = track.total

    def complete(self, utterance: int) -> None:
        self._track(utterance).complete = True
        self._wake.set()

    def forget(self, utterance: int) -> None:
        """It will not be played; of no account when it is in the queue."""
        track = self._tracks.get(utterance)
        if track is not None and track not in self._queue:
            del self._tracks[utterance]

    # Playing it.

    def play(self, utterance: int, *, first: bool = False) -> None:
        track = self._track(utterance)
        if first:
            self._queue.appendleft(track)
        else:
            self._queue.append(track)
        self._wake.set()

    def pause(self) -> None:
        self._paused = True
        self._controls.put_nowait(_Control.PAUSE)

    def resume(self) -> None:
        self._paused = False
        self._controls.put_nowait(_Control.RESUME)
        self._wake.set()

    def silence(self) -> None:
        """Forget all that is in the queue."""
        for track in self._queue:
            self._tracks.pop(track.utterance, None)
        self._queue.clear()
        self._marks.clear()
        self._paused = False
        self._flushes += 1
        self._controls.put_nowait(_Control.FLUSH)

    def mark_played(self, name: str) -> None:
        if heard := self._marks.pop(name, None):
            self._tell(heard)

    async def run(self) -> None:
        """Until cancelled.

        Raises:
            TransportClosed: the call is over.
            TimeoutError: the transport does not move.
        """
        async with asyncio.TaskGroup() as tasks:
            pump = tasks.create_task(self._pump())
            while True:
                control = await self._controls.get()
                if control is _Control.FLUSH:
                    pump.cancel()  # a piece that waits for room must not be sent afterwards
                    await asyncio.wait({pump})
                async with asyncio.timeout(_CONTROL_S):
                    await self._carry_out(control)
                if control is _Control.FLUSH:
                    self._flushes -= 1
                    pump = tasks.create_task(self._pump())

    async def _carry_out(self, control: _Control) -> None:
        match control:
            case _Control.PAUSE:
                await self._transport.pause()
            case _Control.RESUME:
                await self._transport.resume()
            case _Control.FLUSH:
                await self._transport.flush()

    async def _pump(self) -> None:
        while True:
            if not (self._queue and not self._paused and not self._flushes):
                await self._woken()
                continue
            async with asyncio.timeout(_SEND_S):
                moved = await self._send_next(self._queue[0])
            if not moved:
                await self._woken()

    async def _woken(self) -> None:
        self._wake.clear()
        await self._wake.wait()

    async def _send_next(self, track: _Track) -> bool:
        """One piece or mark; False: there is nothing to send yet."""
        if track.marks and track.sent >= track.marks[0]:
            track.marks.popleft()
            await self._mark(track, end=False)
        elif track.unsent:
            until = track.marks[0] - track.sent if track.marks else self._chunk
            piece = bytes(track.unsent[: min(until, self._chunk)])
            await self._transport.send_audio(piece)
            del track.unsent[: len(piece)]
            track.sent += len(piece)
            if self._on_sent is not None:
                self._on_sent(piece)
            self._tell(AudioSent(track.utterance, len(piece) / self._bytes_per_ms))
        elif track.complete:
            if track in self._queue:
                self._queue.remove(track)
            self._tracks.pop(track.utterance, None)
            await self._mark(track, end=True)
        else:
            return False
        return True

    async def _mark(self, track: _Track, *, end: bool) -> None:
        self._last_mark += 1
        name = f"m{self._last_mark}"
        self._marks[name] = Heard(track.utterance, track.sent / self._bytes_per_ms, end)
        await self._transport.mark(name)

    def _track(self, utterance: int) -> _Track:
        return self._tracks.setdefault(utterance, _Track(utterance))

    def _whole(self, position: float) -> int:
        return int(position) // self._frame_bytes * self._frame_bytes
