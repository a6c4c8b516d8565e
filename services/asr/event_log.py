"""What a session has told its client, numbered, in case some of it must be told again. Pure."""

from collections import deque

from services.asr.messages import SessionEvent
from services.shared.protocol.base import Error, ErrorCode, ProtocolError
from services.shared.protocol.codec import encode


class EventLog:
    """Numbers events from 1 and keeps the latest, as they go over the wire."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._texts: deque[str] = deque()
        self._bytes = 0
        self._last = 0

    @property
    def last(self) -> int:
        """Number of the latest event; 0 before the first."""
        return self._last

    def append(self, event: SessionEvent | Error) -> str:
        """Number an event; gives it as it goes over the wire."""
        self._last += 1
        text = encode(event.model_copy(update={"event": self._last}))
        self._texts.append(text)
        self._bytes += len(text.encode())
        while self._bytes > self._limit:
            self._bytes -= len(self._texts.popleft().encode())
        return text

    def after(self, event: int) -> list[str]:
        """All that came after this one, in order.

        Raises:
            ProtocolError: `events_lost` when they are not all kept any more, `invalid_message` for
                an event that has not been yet.
        """
        missed = self._last - event
        if missed < 0:
            raise ProtocolError(
                ErrorCode.INVALID_MESSAGE, f"last_event: {event} is after the latest, {self._last}"
            )
        if missed > len(self._texts):
            raise ProtocolError(
                ErrorCode.EVENTS_LOST,
                f"{missed} events were missed, of which the latest {len(self._texts)} are kept: "
                "the client was away for too long; open a new session",
            )
        return list(self._texts)[len(self._texts) - missed :]
