"""What a session tells its trace: turns, with their jobs and finals."""

from services.asr.commands import Decode, JobCost, Judge
from services.asr.messages import Final, SpeechStarted
from services.shared.protocol.base import Message
from services.shared.runtime.tracing import Span


class SessionTrace:
    """Spans of one session, below its connection's. Never holds what was said."""

    def __init__(self, connection: Span) -> None:
        self._connection = connection
        self._turn: Span | None = None
        self._jobs: dict[int, Span] = {}

    def submitted(self, command: Decode | Judge) -> None:
        """A job was given to a model."""
        parent = self._turn or self._connection
        if isinstance(command, Judge):
            span = parent.child("turn model")
        else:
            kind = "final" if command.request.final else "partial"
            span = parent.child("decode", kind=kind, audio_s=round(command.request.seconds, 3))
        self._jobs[command.job_id] = span

    def answered(self, job_id: int, cost: JobCost | None) -> None:
        """Its answer is there; None: it failed."""
        if (span := self._jobs.pop(job_id, None)) is None:
            return
        if cost is None:
            span.fail("no answer")
        else:
            span.note(
                queue_ms=round(cost.queue_ms, 1),
                run_ms=round(cost.run_ms, 1),
                batch_size=cost.batch_size,
            )
        span.end()

    def withdrawn(self, job_id: int) -> None:
        if (span := self._jobs.pop(job_id, None)) is not None:
            span.note(withdrawn=True)
            span.end()

    def sent(self, message: Message) -> None:
        """A message leaves for the client."""
        if isinstance(message, SpeechStarted) and self._turn is None:
            self._turn = self._connection.child("turn")
        elif isinstance(message, Final):
            self._final(message)

    def _final(self, final: Final) -> None:
        timings = final.timings
        span = (self._turn or self._connection).child(
            "final",
            began_s_ago=timings.total_ms / 1000,
            turn_end=final.turn_end,
            suppressed=final.suppressed or "no",
            **timings.model_dump(),
        )
        span.end()
        if final.turn_end and self._turn is not None:
            self._turn.end()
            self._turn = None

    def close(self) -> None:
        """The session is over."""
        for job_id in list(self._jobs):
            self.withdrawn(job_id)
        if self._turn is not None:
            self._turn.note(unfinished=True)
            self._turn.end()
