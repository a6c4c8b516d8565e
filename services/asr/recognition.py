"""How one session reaches a recogniser: the seam between conversations and kinds of engines.

A batch engine recognises requests, each with all its audio, and knows no session. Other kinds (a
service that listens to a stream, a chain of engines that stand in for each other) do too, behind
the same three methods; the session cannot tell.
"""

import asyncio
from typing import Any, Protocol

import structlog

from services.asr.commands import Decode, Listen
from services.asr.engines.base import AsrEngine, Capabilities, DecodeRequest, Floats, Hypothesis
from services.shared.runtime.scheduler import Completed, Priority, Scheduler

log = structlog.get_logger(__name__)

Answer = asyncio.Future[Completed[Hypothesis]]


class Recognition(Protocol):
    """One session's recogniser. Its methods are called on the event loop and never wait."""

    def hear(self, samples: Floats) -> None:
        """The session's next audio, silence included: [n], 16 kHz mono.

        Called before the session hears it, so that a decode never asks for audio not yet given.
        """
        ...

    def listen(self, command: Listen) -> None:
        """A segment has begun; whoever listens along may begin, too."""
        ...

    async def room(self) -> None:
        """Return when the recogniser can hear more; after a time limit in any case."""
        ...

    def decode(self, command: Decode) -> Answer:
        """Recognise; cancel the answer to withdraw the request.

        Raises:
            QueueFull: only for a partial, which the next one replaces.
            SchedulerClosed: the service is shutting down.
        """
        ...

    def close(self) -> None:
        """The session is over."""
        ...


class Recogniser(Protocol):
    """The service's recogniser, of which each session gets a :class:`Recognition`."""

    name: str

    @property
    def capabilities(self) -> Capabilities: ...

    @property
    def schedulers(self) -> tuple[Scheduler[Any, Any], ...]:
        """Its models' owners, whose health tells the service's."""
        ...

    def busy_for(self) -> float:
        """Seconds that a piece of work has been under way; a large value is a hang."""
        ...

    def load(self) -> None:
        """Load and warm up; may take seconds, off the event loop."""
        ...

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    def new_recognition(self) -> Recognition: ...

    def transcribe(self, request: DecodeRequest) -> Answer:
        """A piece of a recording, behind all live callers; cancel the answer to withdraw it.

        Raises:
            QueueFull, SchedulerClosed
        """
        ...


class BatchRecognition:
    """An engine that batches the requests of all sessions, behind its scheduler."""

    def __init__(self, decoder: Scheduler[DecodeRequest, Hypothesis]) -> None:
        self._decoder = decoder

    def hear(self, samples: Floats) -> None:
        """Requests carry their audio."""

    def listen(self, command: Listen) -> None:
        """A batch engine begins with a request."""

    async def room(self) -> None:
        """The scheduler's queue is bounded by what sessions may ask."""

    def decode(self, command: Decode) -> Answer:
        priority = Priority.URGENT if command.request.final else Priority.NORMAL
        return self._decoder.submit(command.request, priority=priority)

    def close(self) -> None:
        """Nothing of a session stays with a batch engine."""


class BatchRecogniser:
    """A batch engine and the scheduler that owns it."""

    def __init__(
        self, name: str, engine: AsrEngine, decoder: Scheduler[DecodeRequest, Hypothesis]
    ) -> None:
        self.name = name
        self._engine = engine
        self._decoder = decoder

    @property
    def capabilities(self) -> Capabilities:
        return self._engine.capabilities

    @property
    def schedulers(self) -> tuple[Scheduler[Any, Any], ...]:
        return (self._decoder,)

    def busy_for(self) -> float:
        return self._decoder.busy_for()

    def load(self) -> None:
        self._engine.load()
        self._engine.warm_up()

    async def start(self) -> None:
        self._decoder.start(self._engine.capabilities.lanes)

    async def close(self) -> None:
        if not await self._decoder.close():
            log.error("model did not stop", model=self._decoder.name)
        await asyncio.to_thread(self._engine.close)

    def new_recognition(self) -> BatchRecognition:
        return BatchRecognition(self._decoder)

    def transcribe(self, request: DecodeRequest) -> Answer:
        return self._decoder.submit(request, priority=Priority.BULK)
