"""`WS /v1/stream/tts`: carries messages and audio between a client, its session and the engines."""

import asyncio
import contextlib
import time
from collections.abc import Sequence

import structlog
from fastapi import APIRouter, WebSocket

from services.shared.protocol.base import ErrorCode, ProtocolError
from services.shared.runtime.connection import Connection, SessionEnded, admitted, converse
from services.shared.runtime.lifecycle import Lifecycle, lifecycle_of
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
from services.tts.messages import Cancelled, client_codec
from services.tts.output import AudioOutput
from services.tts.service import PlaybackClock, TtsService
from services.tts.session import Session

log = structlog.get_logger(__name__)

_TICK_S = 0.05


def stream_routes(service: TtsService) -> APIRouter:
    router = APIRouter()

    @router.websocket("/v1/stream/tts")
    async def stream(websocket: WebSocket) -> None:
        lifecycle = lifecycle_of(websocket.app)
        async with admitted(websocket, lifecycle) as connection:
            if connection is not None:
                conversation = Conversation(connection, service, lifecycle)
                await converse(connection, lifecycle, conversation.run)

    return router


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
        self._session = Session(connection.session_id, service.voices, service.session_options())
        self._codec = client_codec()
        self._todo: asyncio.Queue[Sequence[Command]] = asyncio.Queue()
        """Short: engines wait for it to be empty, and clients' messages are limited in rate."""
        self._jobs: dict[int, asyncio.Task[None]] = {}
        self._outputs: dict[str, tuple[AudioOutput, int]] = {}
        self._playback = PlaybackClock()
        self._group: asyncio.TaskGroup | None = None

    def run(self, group: asyncio.TaskGroup) -> None:
        """Start the session's tasks; they end with the group."""
        self._group = group
        self._todo.put_nowait(self._session.begin())
        group.create_task(self._read())
        group.create_task(self._perform())
        group.create_task(self._tick())

    async def _read(self) -> None:
        while True:
            # A client that listens has no reason to send: it is not idle either.
            item = await self._connection.receive(
                busy=lambda: self._session.busy or self._playback.playing
            )
            try:
                self._obey(item)
            except ProtocolError as error:
                if error.fatal:
                    raise
                self._lifecycle.metrics.errors.labels(error.code.value).inc()
                self._todo.put_nowait([Send(error.to_message())])
            # Messages wait in the socket while earlier ones are still being carried out.
            await self._todo.join()

    def _obey(self, item: str | bytes) -> None:
        if isinstance(item, bytes):
            raise ProtocolError(
                ErrorCode.UNEXPECTED_MESSAGE, "binary messages are not expected; send JSON text"
            )
        message = self._codec.decode(item)
        self._todo.put_nowait(self._session.receive(message, time.monotonic()))

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            now = time.monotonic()
            wake_at = self._session.wake_at
            if wake_at is not None and now >= wake_at:
                self._todo.put_nowait(self._session.tick(now))

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
                if isinstance(message, Cancelled):
                    self._service.metrics.cancelled.inc()
                    self._playback.stopped()
            case Synthesize():
                assert self._group is not None
                self._jobs[command.job_id] = self._group.create_task(self._speak(command))
            case CancelJob(job_id):
                if (task := self._jobs.pop(job_id, None)) is not None:
                    task.cancel()
            case OpenAudio(context_id, source_rate, encoding, sample_rate):
                output = AudioOutput(source_rate, encoding, sample_rate)
                self._outputs[context_id] = (output, source_rate)
            case SendAudio(context_id, samples):
                output, source_rate = self._outputs[context_id]
                self._playback.sent(len(samples) / source_rate)
                self._service.metrics.audio_s.inc(len(samples) / source_rate)
                await self._send_audio(await self._service.convert(output.push, samples))
            case DrainAudio(context_id):
                output, _ = self._outputs[context_id]
                await self._send_audio(await self._service.convert(output.drain))
            case CloseAudio(context_id):
                self._outputs.pop(context_id, None)
            case Close(code):
                raise SessionEnded(code)

    async def _send_audio(self, data: bytes) -> None:
        if data:
            await self._connection.send_audio(data)

    # The engines' side.

    async def _speak(self, command: Synthesize) -> None:
        """Make one segment's audio, piece by piece."""
        speaker = self._service.speaker_of(command.request.voice)
        stream = speaker.open(command.request)
        self._service.metrics.characters.inc(len(command.request.text))
        asked, first = time.monotonic(), True
        try:
            while True:
                piece = await speaker.next_piece(stream, self._playback.deadline)
                now = time.monotonic()
                if piece is None:
                    self._todo.put_nowait(self._session.on_done(command.job_id, now))
                    break
                if first:
                    self._service.metrics.first_audio_s.observe(now - asked)
                    first = False
                self._todo.put_nowait(self._session.on_audio(command.job_id, piece, now))
                await self._todo.join()
        except EngineError as error:
            failed = self._session.on_failed(command.job_id, error, time.monotonic())
            self._todo.put_nowait(failed)
        except asyncio.CancelledError:
            with contextlib.suppress(Exception):
                speaker.abandon(stream)
            raise
        finally:
            self._jobs.pop(command.job_id, None)
