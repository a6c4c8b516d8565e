"""What a conversation sends and its media has not taken: the playout buffer with its waiting."""

import asyncio

from examples.voice_agent.playout import Frame, PlayoutBuffer
from examples.voice_agent.transport import TransportClosed


class Outbox:
    """Bounded: who sends waits for room. Of one media, which alone takes from it.

    Args:
        limit_bytes: so much may wait; one portion more is let in.
    """

    def __init__(self, frame_bytes: int, silence: bytes, limit_bytes: int) -> None:
        self._buffer = PlayoutBuffer(frame_bytes, silence)
        self._limit = limit_bytes
        self._room = asyncio.Event()
        self._news = asyncio.Event()
        self._flushes = 0
        self._closed = False
        self._room.set()

    @property
    def buffer(self) -> PlayoutBuffer:
        return self._buffer

    async def send(self, data: bytes) -> None:
        """What a flush overtakes while it waits for room is forgotten as if it had been in.

        Raises:
            TransportClosed: the call is over.
        """
        flushes = self._flushes
        while not self._room.is_set():
            await self._room.wait()
        self._check()
        if flushes != self._flushes:
            return
        self._buffer.push(data)
        self._update()
        self._news.set()

    def mark(self, name: str) -> None:
        self._check()
        self._buffer.mark(name)
        self._news.set()

    def flush(self) -> None:
        self._flushes += 1
        self._buffer.clear()
        self._update()
        self._news.set()

    def take(self, *, pad: bool) -> Frame | None:
        frame = self._buffer.take(pad=pad)
        self._update()
        return frame

    def close(self) -> None:
        """Wakes up who waits."""
        self._closed = True
        self._room.set()
        self._news.set()

    def wake(self) -> None:
        """The media has to look again."""
        self._news.set()

    async def news(self, wait_s: float | None) -> None:
        """Until something was sent, flushed or woken, or the time is up."""
        try:
            async with asyncio.timeout(wait_s):
                await self._news.wait()
        except TimeoutError:
            return
        self._news.clear()

    def _update(self) -> None:
        if self._closed or self._buffer.waiting_bytes < self._limit:
            self._room.set()
        else:
            self._room.clear()

    def _check(self) -> None:
        if self._closed:
            raise TransportClosed("the call is over")
