"""Feeds a line that has a queue of its own just ahead of its playing, so that little is under way.

For lines that are told what to play and play it by their own clock: Asterisk's, Twilio's.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

from examples.voice_agent.outbox import Outbox
from examples.voice_agent.pacing import QueueClock
from examples.voice_agent.playout import FRAME_S

_FRAMES_A_MESSAGE = 5
_PAD_BELOW_S = 2 * FRAME_S
"""A frame that is not whole waits for more audio until the line has only so much left."""


class Feeder:
    """Of one line; :meth:`run` is its task.

    Args:
        outbox: what it takes from, frames of 20 ms.
        lead_s: how much the line gets ahead of time, against hiccups of ours and of the way.
        play: sends some frames.
        mark: sends a mark.
    """

    def __init__(
        self,
        outbox: Outbox,
        lead_s: float,
        play: Callable[[bytes], Awaitable[None]],
        mark: Callable[[str], Awaitable[None]],
    ) -> None:
        self.queue = QueueClock(FRAME_S)
        """The line's."""
        self.order = asyncio.Lock()
        """Held while something is taken and sent: a flush overtakes all of it or nothing."""
        self.paused = False
        self.full = False
        """The line takes no more for now."""
        self._outbox = outbox
        self._lead_s = lead_s
        self._play = play
        self._mark = mark
        self._part_since: float | None = None

    async def run(self) -> None:
        """Keep the line's queue filled just so far, until cancelled."""
        while True:
            async with self.order:
                wait_s = await self._feed_some()
            await self._outbox.news(wait_s)

    async def _feed_some(self) -> float | None:
        """Send what is due.

        Returns:
            seconds until there is more to be done; None when only news make more to be done.
        """
        while not self.paused and not self.full:
            lead_s = self.queue.lead_s(time.monotonic())
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
            await self._play(b"".join(frames))
            self.queue.sent(time.monotonic(), len(frames))
        for name in marks:
            await self._mark(name)
        return bool(frames or marks)

    def _part_has_waited(self) -> bool:
        """Whether what is there is no whole frame, and nothing was added for the length of one."""
        buffer, now = self._outbox.buffer, time.monotonic()
        if buffer.has_whole_frame or not buffer.waiting_bytes:
            self._part_since = None
        elif self._part_since is None:
            self._part_since = now
        return self._part_since is not None and now - self._part_since >= FRAME_S
