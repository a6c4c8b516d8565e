"""What a session has told its client, numbered, in case some of it must be told again. Pure."""

from services.asr.messages import SessionEvent
from services.shared.protocol.base import Error, ErrorCode, ProtocolError
from services.shared.protocol.codec import encode

_END = b"\n"
"""Of a line; JSON on the wire has none."""


class EventLog:
    """Numbers events from 1 and keeps the latest, as they go over the wire.

    In one buffer, a line each: strings of their own, thousands that live as long as a call, would
    leave their pages half empty behind.

    Args:
        limit_bytes: of all that is kept.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._lines = bytearray()
        self._kept = 0
        self._last = 0

    @property
    def last(self) -> int:
        """Number of the latest event; 0 before the first."""
        return self._last

    def append(self, event: SessionEvent | Error) -> str:
        """Number an event; gives it as it goes over the wire."""
        self._last += 1
        text = encode(event.model_copy(update={"event": self._last}))
        self._lines += text.encode() + _END
        self._kept += 1
        while len(self._lines) - self._kept > self._limit:
            del self._lines[: self._lines.index(_END) + 1]
            self._kept -= 1
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
        if missed > self._kept:
            raise ProtocolError(
                ErrorCode.EVENTS_LOST,
                f"{missed} events were missed, of which the latest {self._kept} are kept: "
                "the client was away for too long; open a new session",
            )
        return self._lines.decode().split(_END.decode())[self._kept - missed : -1]
