"""What an ASR session asks its caller to do, and what doing it cost. To be carried out in order."""

from dataclasses import dataclass, field

from services.asr.engines.base import DecodeRequest
from services.asr.vad.base import Floats
from services.shared.protocol.base import Message


@dataclass(frozen=True, slots=True)
class Send:
    """Send this message to the client."""

    message: Message


@dataclass(frozen=True, slots=True)
class Decode:
    """Recognise; answer with :meth:`.Session.decoded`."""

    job_id: int
    request: DecodeRequest
    start: int
    """Sample of the session at which the request's audio begins."""


@dataclass(frozen=True, slots=True)
class Listen:
    """A segment has begun: a recogniser that listens along may begin, too. Decodes follow."""

    start: int
    """Sample of the session at which the segment begins; its audio has been heard already."""
    request: DecodeRequest
    """What the segment's decodes will ask for, without audio."""


@dataclass(frozen=True, slots=True)
class Judge:
    """Ask the turn model about this audio; answer with :meth:`.Session.judged`."""

    job_id: int
    audio: Floats = field(repr=False)


@dataclass(frozen=True, slots=True)
class Cancel:
    """The answer of this job is no longer wanted."""

    job_id: int


@dataclass(frozen=True, slots=True)
class End:
    """All is said: close the connection normally."""


@dataclass(frozen=True, slots=True)
class Leave:
    """All that was heard is answered: the client may go on elsewhere. Figures as in `stopped`."""

    received_ms: int
    speech_ms: int
    dropped_ms: int


Command = Send | Listen | Decode | Judge | Cancel | End | Leave


@dataclass(frozen=True, slots=True)
class JobCost:
    """What a job cost, for the final's timings."""

    queue_ms: float = 0.0
    run_ms: float = 0.0
    batch_size: int = 1


class Orders:
    """The commands of a session that its caller has not been given yet."""

    def __init__(self) -> None:
        self._commands: list[Command] = []
        self._jobs = 0

    def next_job(self) -> int:
        """An id that no job of this session has."""
        self._jobs += 1
        return self._jobs

    def add(self, command: Command) -> None:
        self._commands.append(command)

    def send(self, message: Message) -> None:
        self._commands.append(Send(message))

    def cancel(self, job_id: int | None) -> None:
        """Give up a job, if there is one."""
        if job_id is not None:
            self._commands.append(Cancel(job_id))

    def taken(self) -> list[Command]:
        """All of them, in order; they are the caller's now."""
        commands, self._commands = self._commands, []
        return commands
