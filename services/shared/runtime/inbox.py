"""What a client has sent and nobody has worked on yet: bounded in bytes, so that it pushes back."""

import asyncio
from collections import deque
from typing import Generic, TypeVar

M = TypeVar("M")


class Inbox(Generic[M]):
    """Messages and audio in their order; :meth:`take` joins what came while the taker was busy."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._items: deque[bytes | M] = deque()
        self._bytes = 0
        self._changed = asyncio.Condition()

    @property
    def empty(self) -> bool:
        return not self._items

    async def put(self, item: bytes | M) -> None:
        """Append; waits while the inbox is full, which stops the reading from the socket."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._bytes < self._limit)
            self._items.append(item)
            self._bytes += len(item) if isinstance(item, bytes) else 1
            self._changed.notify_all()

    async def take(self, max_bytes: int) -> list[bytes] | M:
        """Wait for the next message, or for audio: as many waiting chunks as fit `max_bytes`.

        A single larger chunk is cut, so that no client gets more than its share of a worker.
        """
        async with self._changed:
            await self._changed.wait_for(lambda: bool(self._items))
            first = self._items.popleft()
            if not isinstance(first, bytes):
                self._bytes -= 1
                self._changed.notify_all()
                return first
            chunks = self._take_chunks(first, max_bytes)
            self._bytes -= sum(map(len, chunks))
            self._changed.notify_all()
            return chunks

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
