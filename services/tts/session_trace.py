"""What a session tells its trace: contexts, with their segments."""

import contextlib
from collections.abc import Iterator

from services.shared.protocol.base import ErrorCode, Message
from services.shared.runtime.tracing import Span
from services.tts.engines.base import SynthesisRequest
from services.tts.messages import AudioFinished, AudioStarted, Cancelled


class SessionTrace:
    """Spans of one session, below its connection's. Never holds what is said."""

    def __init__(self, connection: Span) -> None:
        self._connection = connection
        self._contexts: dict[str, Span] = {}

    def segment(
        self, context_id: str, request: SynthesisRequest
    ) -> contextlib.AbstractContextManager[Span]:
        """A part of a context is made."""
        if (context := self._contexts.get(context_id)) is None:
            context = self._contexts[context_id] = self._connection.child("context")
        return segment_span(context, request)

    def sent(self, message: Message) -> None:
        """A message leaves for the client."""
        match message:
            case AudioStarted(context_id=context_id):
                if (context := self._contexts.get(context_id)) is not None:
                    context.event("first audio")
            case AudioFinished(context_id=context_id):
                self._end(context_id, audio_ms=message.audio_ms)
            case Cancelled(context_id=context_id):
                self._end(context_id, audio_ms=message.sent_ms, cancelled=True)

    def failed(self, context_id: str, code: ErrorCode) -> None:
        """A context is over with an error."""
        if (context := self._contexts.get(context_id)) is not None:
            context.fail(code.value)
            self._end(context_id)

    def _end(self, context_id: str, **attributes: int) -> None:
        if (context := self._contexts.pop(context_id, None)) is not None:
            context.note(**attributes)
            context.end()

    def close(self) -> None:
        """The session is over."""
        for context_id in list(self._contexts):
            self._end(context_id, unfinished=True)


@contextlib.contextmanager
def segment_span(parent: Span, request: SynthesisRequest) -> Iterator[Span]:
    """The span of one piece of text that is spoken."""
    span = parent.child("segment", characters=len(request.text))
    try:
        yield span
    except Exception as error:
        span.fail(type(error).__name__)
        raise
    finally:
        span.end()
