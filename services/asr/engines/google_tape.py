"""The audio of one stretch of speech, from what is not settled yet to what is still to be sent."""

import asyncio

import numpy as np

from services.asr.engines.base import Floats


class Tape:
    """Addressed by sample of the stretch. One writer pushes, one reader sends."""

    def __init__(self) -> None:
        self.end = 0
        """One past the last sample pushed."""
        self.sent = 0
        """One past the last sample sent; goes back when audio is sent again."""
        self.complete = False
        """No more will be pushed."""
        self._audio = bytearray()
        """16-bit samples from `_start` on."""
        self._start = 0
        self._news = asyncio.Event()
        """Something to send, or nothing more to come."""
        self._moved = asyncio.Event()
        """Something was sent."""

    def push(self, samples: Floats) -> None:
        self._audio += pcm16(samples)
        self.end += len(samples)
        self._news.set()

    def finish(self) -> None:
        self.complete = True
        self._news.set()

    async def more_than(self, sample: int, least: int = 1) -> bool:
        """Wait for `least` samples beyond `sample`, or the end; False when there are none."""
        while self.end - sample < least and not self.complete:
            self._news.clear()
            await self._news.wait()
        return self.end > sample

    async def room(self, most: int, limit_s: float) -> None:
        """Wait until no more than `most` samples are to be sent, or nothing moves."""
        while self.end - self.sent > most:
            self._moved.clear()
            try:
                async with asyncio.timeout(limit_s):
                    await self._moved.wait()
            except TimeoutError:
                return

    def next(self, count: int) -> bytes:
        """The next samples to send, as 16-bit PCM."""
        at = 2 * (self.sent - self._start)
        return bytes(self._audio[at : at + 2 * count])

    def advance(self, count: int) -> None:
        self.sent += count
        self._moved.set()

    def rewind(self, to: int) -> None:
        """Send again from sample `to`, and forget what lies before it."""
        self.sent = to
        self.forget(to)

    def forget(self, before: int) -> None:
        if before > self._start:
            del self._audio[: 2 * (before - self._start)]
            self._start = before


def pcm16(samples: Floats) -> bytes:
    """16-bit little-endian, which Google calls LINEAR16."""
    scaled = np.clip(samples, -1.0, 1.0) * 32_767
    return bytes(np.round(scaled).astype("<i2").tobytes())
