"""How one session reaches a recogniser: the seam between conversations and kinds of engines.

A batch engine recognises requests, each with all its audio, and knows no session. Other kinds (a
service that listens to a stream, a chain of engines that stand in for each other) do too, behind
the same three methods; the session cannot tell.
"""

import asyncio
from typing import Protocol

from services.asr.commands import Decode, Listen
from services.asr.engines.base import DecodeRequest, Floats, Hypothesis
from services.shared.runtime.scheduler import Completed, Priority, Scheduler

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
