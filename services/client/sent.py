"""What a client has sent and the service has not acknowledged: kept to be sent again. Pure."""

from collections import deque


class SentLog:
    """Messages in order, counted from 1, and which of them the present connection has taken."""

    def __init__(self) -> None:
        self._kept: deque[str | bytes] = deque()
        self._forgotten = 0
        self._taken = 0
        """How many of those kept went over the present connection, or its predecessors."""
        self._bytes = 0

    @property
    def size(self) -> int:
        """Bytes that are kept."""
        return self._bytes

    @property
    def acknowledged(self) -> int:
        return self._forgotten

    def add(self, message: str | bytes) -> None:
        self._kept.append(message)
        self._bytes += len(message)

    def take(self) -> str | bytes | None:
        """The next message to send; None when all are sent."""
        if self._taken == len(self._kept):
            return None
        self._taken += 1
        return self._kept[self._taken - 1]

    def acknowledge(self, received: int) -> None:
        """The first `received` messages have come: forget them.

        Raises:
            ValueError: so many were not sent, or fewer than were acknowledged before.
        """
        count = received - self._forgotten
        if not 0 <= count <= self._taken:
            sent = self._forgotten + self._taken
            raise ValueError(f"{received} messages acknowledged, of {self._forgotten} to {sent}")
        for _ in range(count):
            self._bytes -= len(self._kept.popleft())
        self._forgotten = received
        self._taken -= count

    def begin_anew(self, first: str) -> None:
        """Another session gets what is kept, after its `first` message; it counts from 1 again."""
        if self._forgotten:  # else the first message is among those that are kept
            self._kept.appendleft(first)
            self._bytes += len(first)
        self._forgotten = self._taken = 0

    def rewind(self, received: int) -> None:
        """A new connection: go on after the first `received` messages. Raises as above."""
        self.acknowledge(received)
        self._taken = 0
