"""Server-sent events, as language models stream them. Sans I/O.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import codecs

MAX_EVENT_CHARACTERS = 1 << 20


class SseError(ValueError):
    """What came is no stream of events, or one of its events is absurdly long."""


class SseDecoder:
    """Bytes in, however they were cut; the data of events out. Comments (keep-alives) are skipped.

    Event names, ids and retry times are of no account to chat completions.
    """

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8-sig")(errors="replace").decode
        self._line = ""
        self._data: list[str] = []
        self._size = 0
        self._after_cr = False

    def feed(self, data: bytes) -> list[str]:
        """The data of all events that are complete by now.

        Raises:
            SseError: an event of more than :data:`MAX_EVENT_CHARACTERS`.
        """
        text = self._decode(data)
        if self._after_cr and text:
            text = text.removeprefix("\n")
            self._after_cr = False
        if text.endswith("\r"):
            self._after_cr = True
        lines = (self._line + text.replace("\r\n", "\n").replace("\r", "\n")).split("\n")
        self._line = lines.pop()
        events = [event for line in lines if (event := self._take(line)) is not None]
        if len(self._line) + self._size > MAX_EVENT_CHARACTERS:
            raise SseError("an event is longer than allowed")
        return events

    def finish(self) -> list[str]:
        """The stream is over: what servers leave out at the end is the last empty line."""
        last = [self._take(self._line), self._take("")]
        self._line = ""
        return [event for event in last if event is not None]

    def _take(self, line: str) -> str | None:
        if line == "":
            event = "\n".join(self._data) if self._data else None
            self._data, self._size = [], 0
            return event
        field, _, value = line.partition(":")
        if field == "data":
            self._data.append(value.removeprefix(" "))
            self._size += len(value)
        return None
