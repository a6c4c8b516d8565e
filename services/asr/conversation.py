"""Drives one session: carries its client's audio and messages to it and its jobs to the models."""

import asyncio
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

import structlog

from services.asr.commands import (
    Cancel,
    Command,
    Decode,
    End,
    JobCost,
    Judge,
    Leave,
    Listen,
    Send,
)
from services.asr.departure import SPREAD_S, Departure
from services.asr.engines.base import EngineError, Hypothesis
from services.asr.link import Link
from services.asr.listening import Ear, Heard, Hearing, check_audio
from services.asr.messages import (
    ClientMessage,
    Final,
    Handover,
    Ready,
    Start,
    Stopped,
    client_codec,
)
from services.asr.service import AsrService
from services.asr.session import Session
from services.asr.session_trace import SessionTrace
from services.shared.protocol.base import PROTOCOL_VERSION, ErrorCode, Message, ProtocolError
from services.shared.runtime.connection import SessionEnded, shutting_down
from services.shared.runtime.endings import this_task
from services.shared.runtime.inbox import Inbox
from services.shared.runtime.lifecycle import Lifecycle
from services.shared.runtime.quotas import Use
from services.shared.runtime.scheduler import Completed, Priority, QueueFull, SchedulerClosed
from services.shared.runtime.tracing import current_span

log = structlog.get_logger(__name__)

_CHUNK_S = 0.5
"""Most audio of one client in one job, so that a fast sender does not hold up the others."""
_INBOX_BYTES = 1 << 19
"""Audio that may wait (16 s at 16 kHz) before reading from the socket stops. While it has stopped,
pings of the client are not answered either: callers in real time should not come so far."""
_TICK_S = 0.05
_PATIENCE = 10
"""Times the limit of one piece of work that its turn may be in coming."""

_Future = asyncio.Future[Completed[Hypothesis]] | asyncio.Future[Completed[float]]


F = TypeVar("F", bound="asyncio.Future[Any]")


@dataclass(slots=True)
class _Job(Generic[F]):
    """A model's work for this session that is under way."""

    future: F
    since: float
    busy_for: Callable[[], float]
    """For how long its model has been at one piece of work."""


class _Departure:
    """In the inbox: all before it was read, and nothing is read after it."""


class Conversation:
    """Drives one session: the only place where its inputs and its commands meet."""

    def __init__(self, link: Link, service: AsrService, lifecycle: Lifecycle) -> None:
        self._link = link
        self._service = service
        self._lifecycle = lifecycle
        self._errors = lifecycle.metrics.errors
        self._session = Session(service.session_options())
        self._recognition = service.new_recognition()
        self._codec = client_codec()
        self._ear: Ear | None = None
        self._inbox: Inbox[ClientMessage | _Departure] = Inbox(_INBOX_BYTES)
        self._receiving = False
        """The reader waits for the client, and has nothing in its hands."""
        self._reading = asyncio.Event()
        """Cleared when nothing more should be read."""
        self._hearing: _Job[asyncio.Future[Completed[Heard]]] | None = None
        """The ears' work for this session."""
        self._room = asyncio.Event()
        """Cleared while the session owes so many finals that it should hear no more."""
        self._room.set()
        self._jobs: dict[int, _Job[_Future]] = {}
        self._trace = SessionTrace(current_span())
        self._reason = ""
        """Why recognition failed the last time, as far as the client may know."""
        self._done: asyncio.Queue[int] = asyncio.Queue()
        """Ids of finished jobs; as short as the few jobs that a session has at a time."""

    def run(self, group: asyncio.TaskGroup) -> None:
        """Start the session's tasks; they end with the group."""
        capabilities = self._service.recogniser.capabilities
        ready = Ready(
            session_id=self._link.session_id,
            protocol=PROTOCOL_VERSION,
            model=capabilities.model,
            languages=capabilities.languages,
        )
        self._link.send(ready)
        group.create_task(self._link.see_off())
        group.create_task(self._leave(group))
        group.create_task(self._listen())
        group.create_task(self._collect())
        group.create_task(self._tick())

    def close(self) -> None:
        """Withdraw what still waits for a model."""
        for job in self._jobs.values():
            job.future.cancel()
        self._recognition.close()
        self._session.release()
        self._trace.close()
        if self._ear is not None:
            self._ear.close()

    # The client's side.

    async def _read(self) -> None:
        while self._reading.is_set():
            self._receiving = True
            item = await self._link.receive(busy=lambda: self._session.working)
            self._receiving = False
            await self._inbox.put(self._codec.decode(item) if isinstance(item, str) else item)

    async def _leave(self, group: asyncio.TaskGroup) -> None:
        """Read until the service drains and it is time to go."""
        self._reading.set()
        reader = group.create_task(self._read())
        await self._lifecycle.draining.wait()
        departure = Departure(time.monotonic() + random.uniform(0, SPREAD_S))
        while True:
            while not self._departs(departure):  # noqa: ASYNC110 - time itself may make it due
                await asyncio.sleep(_TICK_S)
            self._reading.clear()
            if self._receiving:  # a message that comes just now stays in the socket, uncounted
                reader.cancel()
            await asyncio.wait({reader})
            await self._inbox.put(_Departure())
            await self._reading.wait()
            reader = group.create_task(self._read())

    def _departs(self, departure: Departure) -> bool:
        session = self._session
        unheard = self._inbox.ready or self._hearing is not None
        return departure.due(
            resting=session.resting and not unheard and self._link.attached,
            speaking=session.speaking,
            closing=self._lifecycle.closing.is_set(),
            now=time.monotonic(),
        )

    async def _depart(self) -> None:
        """All that was read is heard: go, unless somebody has begun to speak after all."""
        if self._session.stopping:
            return  # it is about to end by itself
        if self._may_go():
            await self._hear([], flush=True)  # it could not be gone on with after that
        if self._may_go():
            self._carry_out(self._session.depart(time.monotonic()))
        else:
            self._reading.set()

    def _may_go(self) -> bool:
        return self._session.resting or self._lifecycle.closing.is_set()

    async def _listen(self) -> None:
        """Hear audio and obey messages in the order in which they came."""
        while True:
            await self._room.wait()
            await self._recognition.room()
            item = await self._inbox.take(self._chunk_bytes(), self._frame_bytes())
            if isinstance(item, list):
                self._session.expect_audio()
                await self._hear(item)
            elif isinstance(item, _Departure):
                await self._depart()
            else:
                await self._obey(item)

    def _chunk_bytes(self) -> int:
        return int(_CHUNK_S * (self._ear.bytes_per_s if self._ear else 16_000))

    def _frame_bytes(self) -> int:
        """What is missing of a frame: less tells the voice detector nothing."""
        if self._ear is None or self._session.stopping:
            return 0
        return self._ear.bytes_missing

    async def _obey(self, message: ClientMessage) -> None:
        if isinstance(message, Start):
            check_audio(message)
        elif not self._session.stopping:
            await self._hear([], flush=True)
        self._carry_out(self._session.receive(message, time.monotonic()))
        if isinstance(message, Start):
            self._ear = self._service.listener.new_ear(self._session.start)
            if message.resumable:
                self._link.make_resumable()

    async def _hear(self, chunks: list[bytes], *, flush: bool = False) -> None:
        if self._ear is None:
            self._ear = self._service.listener.new_ear(self._session.start)
        heard = await self._heard(Hearing(self._ear, chunks, flush))
        self._service.metrics.audio_s.inc(heard.received_s)
        self._link.grant.spend(Use.AUDIO_S, heard.received_s)
        now = time.monotonic()
        self._recognition.hear(heard.samples)
        self._carry_out(
            self._session.hear(heard.samples, heard.probabilities, heard.received_s, now)
        )
        self._mention_leftover(heard)

    async def _heard(self, job: Hearing) -> Heard:
        """Wait for the ears; :meth:`_tick` limits the time, since a timer a chunk costs too much.

        Raises:
            TimeoutError: they took too long.
        """
        try:
            # Who flushes or stops waits for the answer, and sends nothing that could be gathered.
            future = self._service.ears.submit(job, priority=Priority.URGENT, at_once=job.flush)
        except SchedulerClosed as error:
            raise ProtocolError(ErrorCode.SHUTTING_DOWN, str(error)) from None
        self._hearing = _Job(future, time.monotonic(), self._service.ears.busy_for)
        try:
            return (await future).value
        except SchedulerClosed as error:
            raise ProtocolError(ErrorCode.SHUTTING_DOWN, str(error)) from None
        except asyncio.CancelledError:
            if this_task().cancelling():
                raise  # the session is being ended, not the job given up
            raise TimeoutError("listening took too long") from None
        finally:
            self._hearing = None

    def _mention_leftover(self, heard: Heard) -> None:
        if heard.leftover_bytes:
            sentence = (
                f"the audio ended inside a sample: {heard.leftover_bytes} bytes are left over"
            )
            self._tell(ProtocolError(ErrorCode.INVALID_AUDIO, sentence))

    async def _tick(self) -> None:
        arrivals = 0
        while True:
            await asyncio.sleep(_TICK_S)
            now = time.monotonic()
            self._give_up_late_jobs(now)
            self._link.acknowledge(now)
            if self._link.arrivals != arrivals:
                arrivals = self._link.arrivals
                self._session.returned(now)
            # While the client is away its silence means nothing: its audio comes later.
            if not self._link.attached:
                continue
            self._carry_out(self._session.economise(self._service.overload.level))
            if not self._inbox.ready and not self._hearing:
                self._carry_out(self._session.tick(now))

    # The models' side.

    def _carry_out(self, commands: Iterable[Command]) -> None:
        for command in commands:
            match command:
                case Send(message):
                    self._send(message)
                case Listen():
                    self._recognition.listen(command)
                case Decode() | Judge():
                    self._submit(command)
                case Cancel(job_id):
                    if (job := self._jobs.pop(job_id, None)) is not None:
                        job.future.cancel()
                        self._trace.withdrawn(job_id)
                case End():
                    raise SessionEnded
                case Leave(received_ms, speech_ms, dropped_ms):
                    handover = Handover(
                        received=self._link.received,
                        received_ms=received_ms,
                        speech_ms=speech_ms,
                        dropped_ms=dropped_ms,
                    )
                    self._send(handover)
                    raise shutting_down()
        if self._session.congested:
            self._room.clear()
        else:
            self._room.set()

    def _submit(self, command: Decode | Judge) -> None:
        future: _Future
        try:
            if isinstance(command, Judge):
                future = self._service.judges.submit(command.audio, priority=Priority.URGENT)
            else:
                future = self._recognition.decode(command)
        except QueueFull as error:  # only partials are ever refused: the next one may fit
            future = asyncio.get_running_loop().create_future()
            future.set_exception(error)
        except SchedulerClosed as error:
            raise ProtocolError(ErrorCode.SHUTTING_DOWN, str(error)) from None
        self._trace.submitted(command)
        judge = isinstance(command, Judge)
        owner = self._service.judges if judge else self._service.recogniser
        self._jobs[command.job_id] = _Job(future, time.monotonic(), owner.busy_for)
        future.add_done_callback(partial(self._finished, command.job_id))

    def _finished(self, job_id: int, _future: object) -> None:
        self._done.put_nowait(job_id)

    async def _collect(self) -> None:
        """Give the session its answers, one by one."""
        while True:
            job_id = await self._done.get()
            job = self._jobs.pop(job_id, None)
            if job is not None:  # else it was withdrawn
                self._answer(job_id, job.future)

    def _answer(self, job_id: int, future: _Future) -> None:
        now = time.monotonic()
        error = TimeoutError("took too long") if future.cancelled() else future.exception()
        if error is not None:
            self._trace.answered(job_id, None)
            self._note_failure(error)
            self._carry_out(self._session.failed(job_id, now))
            return
        done = future.result()
        cost = JobCost(done.queue_ms, done.run_ms, done.batch_size)
        self._trace.answered(job_id, cost)
        if isinstance(done.value, Hypothesis):
            self._carry_out(self._session.decoded(job_id, done.value, cost, now))
        else:
            self._carry_out(self._session.judged(job_id, done.value, cost, now))

    def _note_failure(self, error: BaseException) -> None:
        if isinstance(error, QueueFull):
            return
        if isinstance(error, SchedulerClosed):
            raise ProtocolError(ErrorCode.SHUTTING_DOWN, str(error)) from None
        self._reason = str(error) if isinstance(error, EngineError) else ""
        log.error("recognition failed", error=repr(error))

    def _give_up_late_jobs(self, now: float) -> None:
        """Whoever waits for a model that hangs; a queue that moves is waited for."""
        jobs: list[_Job[Any]] = list(self._jobs.values())
        if self._hearing is not None:
            jobs.append(self._hearing)
        limit_s = self._service.config.engine_timeout_s
        for job in jobs:
            waited_s = now - job.since
            if waited_s > limit_s and (job.busy_for() > limit_s or waited_s > _PATIENCE * limit_s):
                job.future.cancel()

    def _tell(self, error: ProtocolError) -> None:
        """An error that the session survives."""
        self._errors.labels(error.code.value).inc()
        self._link.send(error.to_message())

    def _send(self, message: Message) -> None:
        metrics = self._service.metrics
        if isinstance(message, Final) and message.suppressed == ErrorCode.ENGINE_FAILED:
            # Only a lost final is a loss: partials, speculations and decisions are made up for.
            reason = f" ({self._reason})" if self._reason else ""
            sentence = f"recognition failed for a part of the audio{reason}; the session goes on"
            self._tell(ProtocolError(ErrorCode.ENGINE_FAILED, sentence))
        self._link.send(message)
        self._trace.sent(message)
        if isinstance(message, Final):
            metrics.count(message)
            log.info("final", content=message.text)
        elif isinstance(message, Stopped | Handover):
            metrics.dropped_s.inc(message.dropped_ms / 1000)
