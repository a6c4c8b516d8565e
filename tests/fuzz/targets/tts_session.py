"""A whole TTS session without sockets, threads or models: messages and engines gone mad."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.shared.protocol.base import CloseCode, Error, Message, ProtocolError
from services.shared.protocol.codec import encode
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
from services.tts.context import Context
from services.tts.engines.base import AudioPiece, EngineError, Voice, WordTime
from services.tts.messages import (
    AudioFinished,
    AudioStarted,
    Cancelled,
    ClientMessage,
    Flushed,
    Start,
    Text,
    Words,
    client_codec,
)
from services.tts.messages import Close as CloseMessage
from services.tts.output import AudioOutput
from services.tts.session import Session, SessionOptions
from services.tts.voices import VoiceCatalogue
from tests.fuzz.source import Source
from tests.fuzz.target import check
from tests.fuzz.targets.asr_messages import check_refusal
from tests.fuzz.targets.tts_messages import message_text

_CODEC = client_codec()
_RATE = 16_000
_VOICES = VoiceCatalogue(
    Voice(id, id, language, _RATE, "fake", "MIT")
    for id, language in (("fake-en", "en-US"), ("fake-vi", "vi-VN"))
)
_LAST = AudioFinished | Cancelled


@dataclass
class Job:
    """A segment that an engine works at."""

    command: Synthesize
    words: list[str]
    at_ms: int = 0


class Rig:
    """One session with its client and its engines, all of which the source decides."""

    def __init__(self, source: Source) -> None:
        options = SessionOptions()
        if source.one_in(4):
            options = SessionOptions(
                max_contexts=2,
                max_message_characters=400,
                max_context_characters=600,
                segment_characters=30,
                spoken_characters=40,
                look_ahead=1,
            )
        self.source = source
        self.session = Session("s", _VOICES, options)
        self.now = 1000.0
        self.jobs: dict[int, Job] = {}
        self.gone: set[int] = set()
        self.outputs: dict[str, AudioOutput] = {}
        self.closed: CloseCode | None = None
        self.sent_samples: Counter[str] = Counter()
        self.texts: dict[str, str] = {}
        self.open: list[str] = []
        """Contexts whose last message has not come, as the client sees them."""

    def live(self) -> None:
        """Until the session is over, one way or another."""
        self.carry_out(self.session.begin())
        try:
            for _ in range(self.source.below(60)):
                if self.closed is not None:
                    return
                self.step()
            self.end()
        except ProtocolError as error:
            check(error.fatal, "a survivable error left the session")

    def step(self) -> None:
        source = self.source
        kind = source.below(8)
        if kind < 4:
            self.message(message_text(source, wrong_in=40))
        elif kind < 6:
            self.work()
        else:
            self.now += source.choice((0.0, 0.02, 0.3, 5.0))
            self.carry_out(self.session.tick(self.now))

    def end(self) -> None:
        """The client closes, and hears all that is owed."""
        self.receive(CloseMessage())
        for _ in range(20_000):
            if self.closed is not None:
                break
            if self.jobs:
                self.work()
            else:
                wake_at = self.session.wake_at
                check(wake_at is not None, "nothing is under way, but the session does not close")
                self.now = max(self.now, wake_at or 0.0) + 0.001
                self.carry_out(self.session.tick(self.now))
        check(self.closed is not None, "the session does not close")
        check(not self.open, f"{self.open} never ended")
        check(not self.jobs, "jobs outlive the session")

    # The client.

    def message(self, written: str) -> None:
        try:
            self.receive(_CODEC.decode(written))
        except ProtocolError as error:
            check_refusal(error)
            if error.fatal:
                raise

    def receive(self, message: ClientMessage) -> None:
        known = self._contexts()
        try:
            commands = self.session.receive(message, self.now)
        except ProtocolError as error:
            check_refusal(error)
            check(self._contexts() == known, "refused, but something changed")
            if error.fatal:
                raise
            return
        if isinstance(message, Start):
            self.carry_out(commands)  # what it interrupts is over before it begins
            for context in self._contexts():
                if context not in known:
                    self.open.append(context.id)
                    self.texts[context.id] = ""
                    self.sent_samples[context.id] = 0
            return
        if isinstance(message, Text):
            for context in known:  # whichever took it: one that has failed takes nothing
                if context.characters > len(self.texts[context.id]):
                    self.texts[context.id] += message.text
        self.carry_out(commands)

    def _contexts(self) -> tuple[Context, ...]:
        return tuple(self.session._queue.contexts.values())

    # The engines.

    def work(self) -> None:
        """One job goes on: audio, its end, or a failure."""
        if not self.jobs:
            return
        job_id = self.source.choice(list(self.jobs))
        job, kind = self.jobs[job_id], self.source.below(16)
        if kind == 15:
            del self.jobs[job_id]
            error = EngineError("the engine is lost")
            self.carry_out(self.session.on_failed(job_id, error, self.now))
        elif not job.words or kind == 14:
            del self.jobs[job_id]
            self.carry_out(self.session.on_done(job_id, self.now))
        else:
            self.carry_out(self.session.on_audio(job_id, self._piece(job), self.now))

    def _piece(self, job: Job) -> AudioPiece:
        count = 1 + self.source.below(3)
        said, job.words = job.words[:count], job.words[count:]
        length_ms = self.source.choice((40, 0, 1, 333, 1000))
        samples = np.zeros(length_ms * _RATE // 1000 + self.source.below(7), dtype=np.float32)
        times = tuple(WordTime(word, job.at_ms, job.at_ms + length_ms) for word in said)
        job.at_ms += length_ms
        return AudioPiece(samples, times)

    def carry_out(self, commands: Sequence[Command]) -> None:
        for command in commands:
            check(self.closed is None or isinstance(command, CancelJob), f"{command} after Close")
            match command:
                case Send(message):
                    self._told(message)
                case Synthesize():
                    self._asked(command)
                case CancelJob(job_id):
                    self.jobs.pop(job_id, None)
                    self.gone.add(job_id)
                case OpenAudio(name, source_rate, encoding, rate, paced):
                    check(name not in self.outputs, "opened twice")
                    self.outputs[name] = AudioOutput(source_rate, encoding, rate, framed=paced)
                case SendAudio(name, samples):
                    check(bool(self.open) and name == self.open[0], f"audio of {name} out of turn")
                    self.outputs[name].push(samples)
                    self.sent_samples[name] += len(samples)
                case DrainAudio(name):
                    self.outputs[name].drain()
                case CloseAudio(name):
                    del self.outputs[name]
                case Close(code):
                    self.closed = code

    def _asked(self, command: Synthesize) -> None:
        request = command.request
        check(command.job_id not in self.jobs | dict.fromkeys(self.gone), "a job twice")
        check(command.context_id in self.open, "speech for a context that is over")
        check(bool(request.text.strip()), "nothing to speak")
        words = [word.written for word in request.words] or request.text.split()
        self.jobs[command.job_id] = Job(command, words)

    # Promises.

    def _told(self, message: Message) -> None:
        encode(message)
        match message:
            case AudioStarted() | Words() | Flushed():
                check(message.context_id == self.open[0], f"{message!r} out of turn")
            case AudioFinished() | Cancelled():
                self._over(message)
            case Error(context_id=str(name)) if name in self.open:
                check(name not in self.outputs, "failed, but its audio goes on")
                self.open.remove(name)

    def _over(self, message: _LAST) -> None:
        name = message.context_id
        check(name in self.open, f"{message!r}, but it was over already")
        check(name not in self.outputs, "over, but its audio goes on")
        sent_ms = self.sent_samples[name] * 1000 // _RATE
        if isinstance(message, AudioFinished):
            check(name == self.open[0], "finished out of turn")
            check(message.audio_ms == sent_ms, f"{message!r}, but {sent_ms} ms were sent")
        else:
            check(message.sent_ms == sent_ms, f"{message!r}, but {sent_ms} ms were sent")
            whole = self.texts[name].startswith(message.spoken_text)
            check(whole, f"{message.spoken_text!r} is not how {self.texts[name]!r} begins")
        self.open.remove(name)


def attempt(source: Source) -> None:
    Rig(source).live()
