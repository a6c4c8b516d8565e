"""Drives a :class:`Session` without models, threads or a clock.

Every sample is its own number in the session, so that an engine can tell which stretch of audio it
was given: :class:`Rehearsal` answers a request with the words that were spoken there, and puts the
stretch itself into the hypothesis's `language`, where a test finds it in the final.
"""

import heapq
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from services.asr.commands import Cancel, Command, Decode, End, JobCost, Judge, Send
from services.asr.degradation import Level
from services.asr.engines.base import Hypothesis
from services.asr.messages import ClientMessage, Final, Flush, SpeechStarted, Start, Stop
from services.asr.session import Session
from services.asr.session_options import SessionOptions
from services.asr.vad.base import FRAME_SAMPLES, Floats
from services.shared.protocol.base import Message

M = TypeVar("M", bound=Message)

WORD = 3200
"""One word every 200 ms of the session, where there is voice."""
TICK_S = 0.05


@dataclass(frozen=True)
class Answer:
    """How one job goes."""

    delay_s: float = 0.0
    fails: bool = False
    probability: float = 1.0
    """What the turn model says, if it is asked."""


class Rehearsal:
    """A session with its client, its models and their time.

    Args:
        answers: for the jobs in the order in which they are asked for; begins again at its end.
        late: cancelled jobs are answered, too, as if the cancellation had come too late.
        unanswered: these jobs never come to an end.
        sentences: what is said before a pause is a whole sentence.
    """

    def __init__(
        self,
        options: SessionOptions | None = None,
        start: Start | None = None,
        answers: Sequence[Answer] = (Answer(),),
        *,
        late: bool = False,
        unanswered: Callable[[Decode | Judge], bool] = lambda job: False,
        sentences: bool = False,
    ) -> None:
        self.session = Session(options or SessionOptions())
        self.now = 100.0
        self.log: list[Message] = []
        self.commands: list[Command] = []
        self.voiced: list[bool] = []
        """Voice or not, a sample of the session."""
        self.idle_flushes = 0
        """Flushes when nobody was speaking."""
        self.held_samples = 0
        """Most audio that the session held at a time."""
        self._answers = itertools.cycle(answers)
        self._late = late
        self._unanswered = unanswered
        self._sentences = sentences
        self._pending: Floats = np.zeros(0, dtype=np.float32)
        self._pending_s = 0.0
        self._probabilities: list[float] = []
        self._jobs: list[tuple[float, int, Callable[[], list[Command]]]] = []
        self._cancelled: set[int] = set()
        if start is not None:
            self._obey(self.session.receive(start, self.now))

    # The client.

    def send(self, message: ClientMessage) -> None:
        """A message; before it, what the service does: the unfinished frame is heard."""
        if not isinstance(message, Start):
            self._hear(len(self._pending))
        in_turn, starts = self.session._turn is not None, len(self.all(SpeechStarted))
        self._obey(self.session.receive(message, self.now))
        if isinstance(message, Flush) and not in_turn:
            self.idle_flushes += len(self.all(SpeechStarted)) == starts
        self.run_until(self.now)

    def flush(self) -> None:
        self.send(Flush())

    def economise(self, level: Level) -> None:
        """The service is overloaded, or no more."""
        self._obey(self.session.economise(level))

    def depart(self) -> None:
        """The service must go: what came is heard, and what is owed is waited for."""
        self._hear(len(self._pending))
        self._obey(self.session.depart(self.now))
        self.wait(30.0)

    def stop(self) -> None:
        """Ends the session and waits for all that is owed."""
        self.send(Stop())
        self.wait(30.0)

    def play(self, parts: Iterable[tuple[int, bool]], chunks: Iterable[int] = (512,)) -> None:
        """Stretches of (milliseconds, voice or not) in real time, in chunks of so many samples.

        The sizes are used over and over; a chunk may hold both voice and silence.
        """
        tape = [voice for ms, voice in parts for _ in range(ms * 16)]
        at, sizes = 0, itertools.cycle(chunks)
        while at < len(tape):
            chunk = tape[at : at + next(sizes)]
            at += len(chunk)
            self.run_until(self.now + len(chunk) / 16_000)  # what is sent has been spoken before
            self.take_in(chunk)

    def speak(self, ms: int, chunks: Iterable[int] = (512,)) -> None:
        self.play([(ms, True)], chunks)

    def silence(self, ms: int, chunks: Iterable[int] = (512,)) -> None:
        self.play([(ms, False)], chunks)

    def take_in(self, chunk: list[bool]) -> None:
        """Audio arrives: voice or not, a sample."""
        at = len(self.voiced)
        fresh = np.arange(at, at + len(chunk), dtype=np.float32)
        self.voiced += chunk
        self._pending = np.concatenate([self._pending, fresh])
        self._pending_s += len(chunk) / 16_000
        self.session.expect_audio()
        self._hear(len(self._pending) // FRAME_SAMPLES * FRAME_SAMPLES)

    def wait(self, seconds: float) -> None:
        """The client sends nothing."""
        self.run_until(self.now + seconds)

    # Time.

    def run_until(self, end: float) -> None:
        """Answer what is due, tick in between."""
        while True:
            due = self._jobs[0][0] if self._jobs else end
            at = min(due, self.now + TICK_S, end)
            self.now = max(self.now, at)
            if self._jobs and self._jobs[0][0] <= self.now:
                self._obey(heapq.heappop(self._jobs)[2]())
            elif self.now >= end:
                return
            else:
                self._obey(self.session.tick(self.now))

    # What came of it.

    def all(self, kind: type[M]) -> list[M]:
        return [message for message in self.log if isinstance(message, kind)]

    @property
    def finals(self) -> list[Final]:
        return self.all(Final)

    @property
    def ended(self) -> int:
        """How often the session said that it is over."""
        return self.commands.count(End())

    def decodes(self, *, final: bool) -> list[Decode]:
        return [
            command
            for command in self.commands
            if isinstance(command, Decode) and command.request.final is final
        ]

    def words(self, start: int, end: int) -> list[str]:
        """What was spoken in [start, end): the words whose middle lies there."""
        first = max(0, (start - WORD // 2 + WORD - 1) // WORD)
        middles = range(first * WORD + WORD // 2, min(end, len(self.voiced)), WORD)
        return [f"w{middle // WORD}" for middle in middles if self.voiced[middle]]

    # Inside.

    def _hear(self, count: int) -> None:
        samples, self._pending = self._pending[:count], self._pending[count:]
        received_s, self._pending_s = self._pending_s, 0.0
        probabilities = []
        for at in range(0, count, FRAME_SAMPLES):
            frame = samples[at : at + FRAME_SAMPLES]
            loud = sum(self.voiced[int(frame[0]) : int(frame[-1]) + 1])
            probabilities.append(float(loud * 2 > len(frame)))
        self._obey(self.session.hear(samples, probabilities, received_s, self.now))
        history = self.session._history
        self.held_samples = max(self.held_samples, history.end - history.start)
        self.run_until(self.now)

    def _obey(self, commands: list[Command]) -> None:
        self.commands += commands
        for command in commands:
            match command:
                case Send(message):
                    self.log.append(message)
                case Decode() | Judge():
                    self._submit(command)
                case Cancel(job_id):
                    self._cancelled.add(job_id)

    def _submit(self, command: Decode | Judge) -> None:
        answer, job_id = next(self._answers), command.job_id
        cost = JobCost(queue_ms=0.0, run_ms=answer.delay_s * 1000)
        if self._unanswered(command):
            return

        def respond() -> list[Command]:
            if job_id in self._cancelled and not self._late:
                return []
            if answer.fails:
                return self.session.failed(job_id, self.now)
            if isinstance(command, Judge):
                return self.session.judged(job_id, answer.probability, cost, self.now)
            return self.session.decoded(job_id, self._recognise(command), cost, self.now)

        heapq.heappush(self._jobs, (self.now + answer.delay_s, job_id, respond))

    def _recognise(self, command: Decode) -> Hypothesis:
        request = command.request
        assert len(request.audio), "a request without audio"
        start, end = int(request.audio[0]), int(request.audio[-1]) + 1
        assert end - start == len(request.audio), "a request with a gap"
        words = self.words(start, end)
        if words and end % WORD > WORD // 2 and self.voiced[end - 1]:
            words[-1] += "?"  # cut off inside the word: will be another when more is heard
        text = " ".join(words)
        if self._sentences and words and not self.voiced[end - 1]:
            text += "."
        assert text.startswith(request.prefix), "promised words that are not in the audio"
        return Hypothesis(text=text, language=f"{start}:{end}", confidence=1.0)


def span(final: Final) -> tuple[int, int] | None:
    """The samples [start, end) that a final was recognised from; None when no model was asked."""
    if final.language is None:
        return None
    start, end = final.language.split(":")
    return int(start), int(end)


def turns(log: Iterable[Message]) -> Iterator[list[Final]]:
    """The finals of each turn."""
    turn: list[Final] = []
    for message in log:
        if isinstance(message, Final):
            turn.append(message)
            if message.turn_end:
                yield turn
                turn = []
    assert not turn, "a turn without its last final"
