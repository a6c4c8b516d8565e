"""One speaker's conversation as a state machine: messages and audio in, commands out.

Sans-I/O: no clock, no thread, no socket; `now` (seconds, monotonic) comes with every call. Contexts
are spoken one after the other in the order of their start. Segments are synthesised a little ahead
of the one that is being sent, never more, so that a cancel wastes little and memory is bounded.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count

from services.shared.protocol.base import (
    PROTOCOL_VERSION,
    CloseCode,
    ErrorCode,
    ProtocolError,
)
from services.tts.commands import Close, Command, Send
from services.tts.context import Context
from services.tts.engines.base import AudioPiece, EngineError, Voice
from services.tts.lexicon import Lexicon
from services.tts.messages import (
    Cancel,
    ClientMessage,
    End,
    Flush,
    Ready,
    Start,
    Text,
)
from services.tts.messages import Close as CloseMessage
from services.tts.speaking import SpeakingQueue
from services.tts.voices import VoiceCatalogue
from services.tts.wording import Reader

_FRAGMENT_CHARACTERS = 500
"""A message of 20,000 would hold up the event loop for up to 70 ms, measured."""


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """What the operator decided for all sessions."""

    max_contexts: int = 8
    """Contexts open at once, the one being spoken included."""
    max_message_characters: int = 20_000
    max_context_characters: int = 200_000
    segment_characters: int = 280
    """Longest text that is spoken together, as it is written."""
    spoken_characters: int = 1000
    """Longest text that goes to an engine, numbers in words."""
    look_ahead: int = 2
    """Segments being synthesised or waiting to be sent."""
    pause_s: float = 0.25
    """A pause in the text after which an unfinished beginning is spoken."""


ReaderChoice = Callable[[Start, Voice], Reader]
"""Chooses who decides how a context's text is said. Raises ProtocolError: not as it is wanted."""


def plain_reader(start: Start, voice: Voice) -> Reader:
    """Reads as the voice's language wants it, without anything of the operator's."""
    return Reader(voice.language, normalise=start.normalise, lexicons=(Lexicon(start.lexicon),))


class Session:
    """The state of one connection.

    Every method gives the commands that follow, in order. :meth:`receive` raises ProtocolError
    before it changes anything; whether the session survives it, `ProtocolError.fatal` tells.
    """

    def __init__(
        self,
        session_id: str,
        voices: VoiceCatalogue,
        options: SessionOptions | None = None,
        readers: ReaderChoice = plain_reader,
    ) -> None:
        self._id = session_id
        self._voices = voices
        self._readers = readers
        self._options = options or SessionOptions()
        self._queue = SpeakingQueue(self._options.look_ahead)
        self._context_numbers = count(1)
        self._started = False
        self._last_started: str | None = None
        self._closing = False
        self._closed = False

    @property
    def busy(self) -> bool:
        """There is something to speak, so a silent client is not idle."""
        return any(context.plan for context in self._queue.contexts.values())

    @property
    def open_contexts(self) -> int:
        """Contexts that were started and are neither finished nor cancelled."""
        return len(self._queue.contexts)

    def is_open(self, context_id: str) -> bool:
        return context_id in self._queue.contexts

    @property
    def wake_at(self) -> float | None:
        """When :meth:`tick` has something to do, unless more text comes before."""
        pauses = [context.paused_since for context in self._queue.contexts.values()]
        times = [since + self._options.pause_s for since in pauses if since is not None]
        if (paced_at := self._queue.paced_at) is not None:
            times.append(paced_at)
        return min(times, default=None)

    def ahead_s(self, job_id: int) -> float:
        """Audio that is heard after what was sent and before this job's next piece, roughly."""
        return self._queue.ahead_s(job_id)

    def paced(self, job_id: int) -> bool:
        """Its audio waits here until it is due, so there is no use in making much of it."""
        return self._queue.paced(job_id)

    def begin(self) -> list[Command]:
        """What to send first."""
        ready = Ready(
            session_id=self._id,
            protocol=PROTOCOL_VERSION,
            default_voice=self._voices.default.id,
            voices=self._voices.ids,
        )
        return [Send(ready)]

    def receive(self, message: ClientMessage, now: float) -> list[Command]:
        """Take one message of the client.

        Raises:
            ProtocolError: the message cannot be obeyed; the state is as before.
        """
        self._check_open(message)
        match message:
            case Start():
                return [*self._start(message, now), *self._advance(now)]
            case Text():
                self._text(message, now)
            case Flush() | End():
                self._flush_or_end(message)
            case Cancel():
                return [*self._cancel(message, now), *self._advance(now)]
            case CloseMessage():
                self._close()
        return list(self._advance(now))

    def fragments(self, message: Text) -> list[Text]:
        """A long text in parts, to be received one after the other, with time for others between.

        To find where thousands of list items end takes a while, and where they end does not depend
        on how the text was fragmented. Nothing: it will not be spoken, as that context has failed.

        Raises:
            ProtocolError: none of it can be taken.
        """
        text = message.text
        self._check_open(message)
        context = self._addressed(message)
        if context is None:
            return []
        self._check_length(context, text)
        if len(text) <= _FRAGMENT_CHARACTERS:
            return [message]
        cuts = range(0, len(text), _FRAGMENT_CHARACTERS)
        parts = [text[at : at + _FRAGMENT_CHARACTERS] for at in cuts]
        return [Text(text=part, context_id=context.id) for part in parts]

    def on_audio(self, job_id: int, piece: AudioPiece, now: float) -> list[Command]:
        """The next audio of a job; ignored when the job was cancelled."""
        self._queue.take_audio(job_id, piece)
        return list(self._advance(now))

    def on_done(self, job_id: int, now: float) -> list[Command]:
        """A job gave all its audio."""
        self._queue.take_end(job_id)
        return list(self._advance(now))

    def on_failed(self, job_id: int, error: EngineError, now: float) -> list[Command]:
        """A job failed: its context ends with an error once the audio before it is sent."""
        self._queue.take_end(job_id, error)
        return list(self._advance(now))

    def refuse(self, start: Start, reason: ProtocolError) -> list[Command]:
        """There is no room for this context now: what follows of it is ignored."""
        context_id = start.context_id or self._new_context_id()
        self._queue.failed.append(context_id)
        self._queue.closed.append(context_id)
        self._started, self._last_started = True, context_id
        told = ProtocolError(reason.code, reason.message, context_id=context_id)
        return [Send(told.to_message())]

    def tick(self, now: float) -> list[Command]:
        """Time passes: text that has paused long enough is spoken, and paced audio is sent."""
        for context in self._queue.contexts.values():
            since = context.paused_since
            if since is not None and now - since >= self._options.pause_s:
                context.on_pause()
        return list(self._advance(now))

    # Messages of the client.

    def _check_open(self, message: ClientMessage) -> None:
        if self._closing and not isinstance(message, Cancel):
            raise ProtocolError(
                ErrorCode.UNEXPECTED_MESSAGE,
                f'"{message.type}" after "close"; only "cancel" may follow it',
            )

    def _start(self, message: Start, now: float) -> Iterator[Command]:
        voice = self._checked(message)
        reader = self._readers(message, voice)
        if message.interrupt:
            yield from self._cancel(Cancel(), now)
        context = Context(
            message.context_id or self._new_context_id(),
            message,
            voice,
            reader,
            max_characters=self._options.segment_characters,
            max_spoken_characters=self._options.spoken_characters,
            now=now,
        )
        self._queue.add(context)
        self._started, self._last_started = True, context.id

    def _checked(self, message: Start) -> Voice:
        """Who will speak. Raises ProtocolError when the context cannot be opened."""
        voice = self._voices.choose(message.voice, message.language)
        if message.interrupt:  # it takes the place of what is open
            return voice
        if message.context_id in self._queue.contexts:
            raise ProtocolError(
                ErrorCode.UNEXPECTED_MESSAGE,
                f'context "{message.context_id}" is already open; choose another context_id',
                context_id=message.context_id,
            )
        if len(self._queue.contexts) >= self._options.max_contexts:
            raise ProtocolError(
                ErrorCode.TOO_MANY_CONTEXTS,
                f"{len(self._queue.contexts)} contexts are open, which is the limit; "
                "wait for an audio_finished or cancel one",
                context_id=message.context_id,
            )
        return voice

    def _new_context_id(self) -> str:
        return next(
            name
            for name in (f"context-{number}" for number in self._context_numbers)
            if name not in self._queue.contexts
        )

    def _text(self, message: Text, now: float) -> None:
        context = self._addressed(message)
        if context is not None:
            self._check_length(context, message.text)
            context.push(message.text, now)

    def _check_length(self, context: Context, text: str) -> None:
        """Raises ProtocolError `text_too_long`."""
        limits = self._options
        total = context.characters + len(text)
        for size, limit, what in (
            (len(text), limits.max_message_characters, "one message"),
            (total, limits.max_context_characters, "one context"),
        ):
            if size > limit:
                raise ProtocolError(
                    ErrorCode.TEXT_TOO_LONG,
                    f"{size} characters are over the limit of {limit} for {what}; "
                    "this text was not taken",
                    context_id=context.id,
                )

    def _flush_or_end(self, message: Flush | End) -> None:
        context = self._addressed(message)
        if context is None:
            return
        if isinstance(message, Flush):
            context.flush()
        else:
            context.end()

    def _addressed(self, message: Text | Flush | End) -> Context | None:
        """The context that a message means; None when it failed and the client was told.

        Raises:
            ProtocolError: there is no such context, or it has ended.
        """
        if not self._started:
            raise ProtocolError(
                ErrorCode.UNEXPECTED_MESSAGE,
                f'"{message.type}" before any "start"; send that first',
            )
        wanted = message.context_id
        if wanted is None:
            if self._last_started in self._queue.failed:
                return None
            wanted = next(reversed(self._queue.contexts), None)
        context = self._queue.contexts.get(wanted) if wanted else None
        if context is not None and not context.ended:
            return context
        if wanted in self._queue.failed:
            return None
        raise self._no_context(message, wanted)

    def _no_context(
        self, message: Text | Flush | End | Cancel, wanted: str | None
    ) -> ProtocolError:
        known = wanted in self._queue.contexts or wanted in self._queue.closed
        what = f'context "{wanted}" has ended' if known else f'there is no context "{wanted}"'
        return ProtocolError(
            ErrorCode.UNKNOWN_CONTEXT,
            f'"{message.type}": {what if wanted else "no context is open"}; open one with "start"',
            context_id=wanted,
        )

    def _cancel(self, message: Cancel, now: float) -> Iterator[Command]:
        if message.context_id is None:
            for context in list(self._queue.contexts.values()):
                yield from self._queue.cancel(context, now)
            return
        found = self._queue.contexts.get(message.context_id)
        if found is not None:
            yield from self._queue.cancel(found, now)
        elif message.context_id not in self._queue.closed:
            # One that has just finished was answered by its last message.
            raise self._no_context(message, message.context_id)

    def _close(self) -> None:
        self._closing = True
        for context in self._queue.contexts.values():
            if not context.ended:
                context.end()

    # What follows from all of it.

    def _advance(self, now: float) -> Iterator[Command]:
        yield from self._queue.advance(now)
        if self._closing and not self._closed and not self._queue.contexts:
            self._closed = True
            yield Close(CloseCode.NORMAL)
