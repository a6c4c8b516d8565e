"""What came from a call and was not read yet: bounded, and never in the way of who brings it."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

from examples.voice_agent.transport import AudioIn, HungUp, TransportEvent


class Inbox:
    """Events in order, for one reader.

    Audio is bounded: the oldest is dropped and counted when nobody reads. Everything else is rare
    (a key, a mark that the reader asked for, the end of the call) and kept.

    Args:
        audio_bytes: of audio that may wait.
        on_dropped: is told how many bytes were dropped, each time.
    """

    def __init__(
        self, audio_bytes: int, on_dropped: Callable[[int], object] = lambda count: None
    ) -> None:
        self._on_dropped = on_dropped
        self._limit = audio_bytes
        self._events: deque[TransportEvent] = deque()
        self._waiting = 0
        self._some = asyncio.Event()
        self.dropped_bytes = 0

    def put(self, event: TransportEvent) -> None:
        self._events.append(event)
        if isinstance(event, AudioIn):
            self._waiting += len(event.data)
            if self._waiting > self._limit:
                self._drop_oldest()
        self._some.set()

    async def get(self) -> TransportEvent:
        while not self._events:
            self._some.clear()
            await self._some.wait()
        event = self._events.popleft()
        if isinstance(event, AudioIn):
            self._waiting -= len(event.data)
        return event

    async def events(self) -> AsyncIterator[TransportEvent]:
        """Until the call is over; see :meth:`.CallTransport.events`."""
        while True:
            event = await self.get()
            yield event
            if isinstance(event, HungUp):
                return

    def _drop_oldest(self) -> None:
        for position, event in enumerate(self._events):
            if isinstance(event, AudioIn):
                del self._events[position]
                self._waiting -= len(event.data)
                self.dropped_bytes += len(event.data)
                self._on_dropped(len(event.data))
                return
