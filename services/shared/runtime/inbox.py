"""What a client has sent and nobody has worked on yet: bounded in bytes, so that it pushes back."""

import asyncio
from collections import deque
from typing import Generic, TypeVar

M = TypeVar("M")


class Inbox(Generic[M]):
    """Messages and audio in their order; :meth:`take` joins what came while the taker was busy.

    For one reader. It is passed 50 times a second by each caller, so it has neither a lock nor a
    timer, and wakes its reader only for what that wants.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._items: deque[bytes | M] = deque()
        self._bytes = 0
        """Of audio, and one for each message."""
        self._messages = 0
        self._wanted = 0
        self._filled = asyncio.Event()
        self._room = asyncio.Event()

    @property
    def ready(self) -> bool:
        """There is what the reader wants: a message, or as much audio as it last asked for."""
        return self._messages > 0 or (bool(self._items) and self._bytes >= self._wanted)

    async def put(self, item: bytes | M) -> None:
        """Append; waits while the inbox is full, which stops the reading from the socket."""
        while self._bytes >= self._limit:
            self._room.clear()
            await self._room.wait()
        self._items.append(item)
        if isinstance(item, bytes):
            self._bytes += len(item)
        else:
            self._bytes += 1
            self._messages += 1
        if self.ready:
            self._filled.set()

    async def take(self, max_bytes: int, at_least: int = 0) -> list[bytes] | M:
        """Wait for the next message, or for audio: as many waiting chunks as fit `max_bytes`.

        A single larger chunk is cut, so that no client gets more than its share of a worker.

        Args:
            at_least: bytes of audio to wait for, unless a message comes after less; 0: any chunk,
                also an empty one.
        """
        self._wanted = min(at_least, self._limit)
        while not self.ready:
            self._filled.clear()
            await self._filled.wait()
        first = self._items.popleft()
        if isinstance(first, bytes):
            chunks = self._take_chunks(first, max_bytes)
            self._bytes -= sum(map(len, chunks))
            self._room.set()
            return chunks
        self._bytes -= 1
        self._messages -= 1
        self._room.set()
        return first

    def _take_chunks(self, first: bytes, max_bytes: int) -> list[bytes]:
        chunks, size = [first[:max_bytes]], min(len(first), max_bytes)
        if len(first) > max_bytes:
            self._items.appendleft(first[max_bytes:])
            return chunks
        while self._items and isinstance(self._items[0], bytes):
            if size + len(self._items[0]) > max_bytes:
                break
            chunk = self._items.popleft()
            assert isinstance(chunk, bytes)
            chunks.append(chunk)
            size += len(chunk)
        return chunks
