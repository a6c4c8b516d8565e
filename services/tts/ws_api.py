"""`WS /v1/stream/tts`: carries messages and audio between a client, its session and the engines."""

import asyncio
import time
from collections.abc import Sequence

import structlog
from fastapi import APIRouter, WebSocket

from services.shared.protocol.base import Error, ErrorCode, Message, ProtocolError
from services.shared.runtime.connection import (
    Connection,
    SessionEnded,
    admitted,
    converse,
    shutting_down,
)
from services.shared.runtime.edge import error_response
from services.shared.runtime.keys import Scope
from services.shared.runtime.lifecycle import LAST_WORDS_S, Lifecycle, lifecycle_of
from services.shared.runtime.quotas import Use
from services.shared.runtime.tracing import Span, current_span
from services.tts.commands import (
    CancelJob,
    Close,
    CloseAudio,
    Command,
    DrainAudio,
    OpenAudio,
    Send,
    SendAudio,
    Synthesize,
)
from services.tts.engines.base import EngineError
from services.tts.listener import Listener
from services.tts.messages import AudioFinished, Cancelled, Start, Text, client_codec
from services.tts.output import AudioOutput
from services.tts.service import TtsService
from services.tts.session import Session
from services.tts.session_trace import SessionTrace
from services.tts.speech import Speech

log = structlog.get_logger(__name__)

_AHEAD_S = 3.0
"""Of audio that is sent in real time no more than this is made before: a cancel wastes it."""
_WAIT_S = 0.5


def stream_routes(service: TtsService) -> APIRouter:
    router = APIRouter()

    @router.websocket("/v1/stream/tts")
    async def stream(websocket: WebSocket) -> None:
        lifecycle = lifecycle_of(websocket.app)
        if not await _has_room(websocket, lifecycle, service):
            return
        async with admitted(websocket, lifecycle, Scope.TTS) as connection:
            if connection is not None:
                conversation = Conversation(connection, service, lifecycle)
                try:
                    await converse(
                        connection, lifecycle, conversation.run, last_words_s=LAST_WORDS_S
                    )
                finally:
                    conversation.close()

    return router


async def _has_room(websocket: WebSocket, lifecycle: Lifecycle, service: TtsService) -> bool:
    """Refuse before the upgrade when the engines could not keep up with one more."""
    try:
        lifecycle.keys.check(websocket, Scope.TTS)
        service.check_session()
    except ProtocolError as refusal:
        lifecycle.metrics.errors.labels(refusal.code.value).inc()
        lifecycle.metrics.refused.labels(refusal.code.value).inc()
        await websocket.send_denial_response(error_response(refusal))
        return False
    return True


class Conversation:
    """Drives one session: the only place where its inputs and its commands meet.

    Commands are carried out by one task, in order. Engines are asked for the next piece only when
    that task has caught up, so a client that reads slowly slows its own synthesis down and nothing
    piles up.
    """

    def __init__(self, connection: Connection, service: TtsService, lifecycle: Lifecycle) -> None:
        self._connection = connection
        self._service = service
        self._lifecycle = lifecycle
        self._owner = connection.grant.owner
        self._voices = service.voices_for(self._owner)
        self._session = Session(
            connection.session_id, self._voices, service.session_options(), service.reader_of
        )
        self._codec = client_codec()
        self._todo: asyncio.Queue[Sequence[Command]] = asyncio.Queue()
        """Short: engines wait for it to be empty, and clients' messages are limited in rate."""
        self._jobs: dict[int, asyncio.Task[None]] = {}
        self._speeches: dict[int, tuple[Speech, float]] = {}
        """What the jobs listen to, and since when."""
        self._withdrawn: set[int] = set()
        """Cancelled before they were begun."""
        self._outputs: dict[str, tuple[AudioOutput, int]] = {}
        self._listener = Listener(service.metrics)
        self._trace = SessionTrace(current_span())
        self._changed = asyncio.Event()
        """The session's state is new, so it may want to be woken at another time."""
        self._moved = asyncio.Event()
        """The same for whoever waits for the last context to be over."""
        self._group: asyncio.TaskGroup | None = None

    def run(self, group: asyncio.TaskGroup) -> None:
        """Start the session's tasks; they end with the group."""
        self._group = group
        self._follow(self._session.begin())
        group.create_task(self._read())
        group.create_task(self._perform())
        group.create_task(self._tick())
        group.create_task(self._leave())

    def close(self) -> None:
        """The session is over."""
        self._trace.close()

    async def _read(self) -> None:
        while True:
            # A client that listens has no reason to send: it is not idle either.
            item = await self._connection.receive(
                busy=lambda: self._session.busy or self._listener.playing
            )
            try:
                await self._obey(item)
            except ProtocolError as error:
                if error.fatal:
                    raise
                self._lifecycle.metrics.errors.labels(error.code.value).inc()
                self._follow([Send(error.to_message())])
            # Messages wait in the socket while earlier ones are still being carried out.
            await self._todo.join()

    async def _obey(self, item: str | bytes) -> None:
        if isinstance(item, bytes):
            raise ProtocolError(
                ErrorCode.UNEXPECTED_MESSAGE, "binary messages are not expected; send JSON text"
            )
        message = self._codec.decode(item)
        if isinstance(message, Start) and (refusal := await self._refusal(message)) is not None:
            self._lifecycle.metrics.errors.labels(refusal.code.value).inc()
            self._follow(self._session.refuse(message, refusal))
        elif isinstance(message, Text):
            await self._take_text(message)
        else:
            self._follow(self._session.receive(message, time.monotonic()))

    async def _take_text(self, message: Text) -> None:
        parts = self._session.fragments(message)
        if parts:
            self._connection.grant.spend(Use.CHARACTERS, len(message.text))
        for part in parts:
            self._follow(self._session.receive(part, time.monotonic()))
            if len(parts) > 1:
                await asyncio.sleep(0)

    async def _refusal(self, start: Start) -> ProtocolError | None:
        """Why a context cannot be spoken now; one that is heard already goes on."""
        if self._lifecycle.closing.is_set():
            return shutting_down()
        try:
            await self._service.prepare(start.voice, self._owner)
        except EngineError as error:
            return ProtocolError(error.code, error.message)
        if self._session.busy or self._listener.playing:
            return None
        try:
            voice = self._voices.choose(start.voice, start.language)
            self._service.check_context(self._connection.session_id, voice)
        except ProtocolError as error:
            return error if error.code is ErrorCode.OVERLOADED else None
        return None

    def _follow(self, commands: Sequence[Command]) -> None:
        """Have commands carried out; engines are freed at once, before what waits is sent."""
        for command in commands:
            if isinstance(command, CancelJob):
                self._cancel_job(command.job_id)
        self._todo.put_nowait(commands)
        self._changed.set()
        self._moved.set()

    def _cancel_job(self, job_id: int) -> None:
        if (task := self._jobs.pop(job_id, None)) is not None:
            task.cancel()
        else:
            self._withdrawn.add(job_id)

    async def _tick(self) -> None:
        """Wake the session when it wants to be."""
        while True:
            await self._todo.join()
            self._changed.clear()
            wake_at, now = self._session.wake_at, time.monotonic()
            if wake_at is not None and now >= wake_at:
                self._follow(self._session.tick(now))
                continue
            try:
                async with asyncio.timeout(None if wake_at is None else wake_at - now):
                    await self._changed.wait()
            except TimeoutError:
                pass

    async def _leave(self) -> None:
        """A service that shuts down lets an answer end; between two the client goes elsewhere."""
        await self._lifecycle.draining.wait()
        going = False
        while not going:
            while self._session.open_contexts:
                self._moved.clear()
                await self._moved.wait()
            await self._todo.join()
            going = not self._session.open_contexts  # one may have been opened meanwhile
        raise shutting_down()

    # The session's side.

    async def _perform(self) -> None:
        while True:
            commands = await self._todo.get()
            try:
                for command in commands:
                    await self._carry_out(command)
            finally:
                self._todo.task_done()

    async def _carry_out(self, command: Command) -> None:
        match command:
            case Send(message):
                self._connection.send(message)
                self._note(message)
                if isinstance(message, Cancelled | AudioFinished):
                    self._service.forget(self._connection.session_id)
                if isinstance(message, Cancelled):
                    self._service.metrics.cancelled.inc()
                    if message.sent_ms:
                        self._listener.stopped()
            case Synthesize():
                self._begin(command)
            case CancelJob(job_id):
                self._withdrawn.discard(job_id)
            case OpenAudio(context_id, source_rate, encoding, sample_rate, paced):
                output = AudioOutput(source_rate, encoding, sample_rate, framed=paced)
                self._outputs[context_id] = (output, source_rate)
            case SendAudio(context_id, samples, asked_at):
                output, source_rate = self._outputs[context_id]
                self._listener.sent(len(samples) / source_rate, asked_at)
                await self._send_audio(await self._service.convert(output.push, samples))
            case DrainAudio(context_id):
                output, _ = self._outputs[context_id]
                await self._send_audio(await self._service.convert(output.drain))
            case CloseAudio(context_id):
                self._outputs.pop(context_id, None)
            case Close(code):
                raise SessionEnded(code)

    def _note(self, message: Message) -> None:
        """What leaves for the client goes into the trace."""
        if not isinstance(message, Error):
            self._trace.sent(message)
        elif message.context_id is not None and not self._session.is_open(message.context_id):
            self._trace.failed(message.context_id, message.code)

    async def _send_audio(self, messages: list[bytes]) -> None:
        for data in messages:
            since = time.monotonic()
            await self._connection.send_audio(data)
            self._listener.taken(since)

    # The engines' side.

    def _begin(self, command: Synthesize) -> None:
        assert self._group is not None
        self._service.forget(self._connection.session_id)
        log.info("speaking", content=command.request.text)
        if command.job_id not in self._withdrawn:
            self._jobs[command.job_id] = self._group.create_task(self._speak(command))

    async def _speak(self, command: Synthesize) -> None:
        """Make one segment's audio, piece by piece."""
        job_id = command.job_id
        try:
            with self._trace.segment(command.context_id, command.request) as span:
                await self._relay(command, span)
        except EngineError as error:
            self._follow(self._session.on_failed(job_id, error, time.monotonic()))
        else:
            self._follow(self._session.on_done(job_id, time.monotonic()))
        finally:
            self._jobs.pop(job_id, None)
            self._hasten()

    async def _relay(self, command: Synthesize, span: Span) -> None:
        """Give the session a segment's audio as fast as it is wanted."""
        asked_at, job_id = time.monotonic(), command.job_id
        waits = self._listener.waits(asked_at)
        predicted_s = self._service.speaker_of(command.request.voice).load.first_audio_s(asked_at)
        speech = await self._service.speak(command.request, command.cache)
        self._speeches[job_id] = (speech, asked_at)
        span.note(source=speech.source)
        try:
            while piece := await speech.next_piece(await self._next_deadline(job_id, asked_at)):
                if waits:
                    span.event("first audio")
                    self._listener.heard_first(asked_at, speech.source)
                    if speech.source == "engine":
                        self._service.metrics.predicted_s.observe(predicted_s)
                    waits = False
                self._follow(self._session.on_audio(job_id, piece, time.monotonic()))
                await self._todo.join()
        finally:
            del self._speeches[job_id]
            speech.close()

    def _hasten(self) -> None:
        """A segment was shorter than expected, or went: what comes after it is needed sooner."""
        for job_id, (speech, asked_at) in self._speeches.items():
            speech.hasten(self._listener.deadline(asked_at, self._session.ahead_s(job_id)))

    async def _next_deadline(self, job_id: int, asked_at: float) -> float:
        """When a job's next piece is needed; waits while that is too far away."""
        while True:
            ahead_s = self._session.ahead_s(job_id)
            if ahead_s <= _AHEAD_S or not self._session.paced(job_id):
                return self._listener.deadline(asked_at, ahead_s)
            await asyncio.sleep(min(_WAIT_S, ahead_s - _AHEAD_S))
