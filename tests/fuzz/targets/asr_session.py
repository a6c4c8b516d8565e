"""A whole ASR session without sockets, threads or models: messages, bytes and engines gone mad.

What :class:`services.asr.conversation.Conversation` does is done here step by step, in any order
that the real one could come upon, and the promises of the protocol are checked at the end.
"""

import zlib
from functools import cache

import numpy as np

from services.asr.commands import Cancel, Command, Decode, End, JobCost, Judge, Listen, Send
from services.asr.engines.base import Hypothesis, HypothesisWord
from services.asr.listening import Ear, Heard, Hearing, Listener, check_audio
from services.asr.messages import (
    Encoding,
    Final,
    Flush,
    Partial,
    SpeechStarted,
    Start,
    Stop,
    Stopped,
    TurnPending,
    client_codec,
)
from services.asr.session import Session
from services.asr.session_options import SessionOptions
from services.shared.protocol.base import Message, ProtocolError
from services.shared.protocol.codec import encode
from services.shared.vad.energy import EnergyVad
from tests.fuzz.source import Source
from tests.fuzz.target import check
from tests.fuzz.targets.asr_messages import check_refusal, message_text, start_fields
from tests.fuzz.values import json_text
from tests.services.asr.sounds import encoded, joined, opus_packets, silence, tone

_CODEC = client_codec()
_WORD_SAMPLES = 3200
_WORDS = ("yes", "no.", "Hanoi", "twenty", "好", "ไป", "I'm", "?")


@cache
def _opus() -> list[bytes]:
    return opus_packets(joined(tone(400, 400), silence(200)))


@cache
def _webm() -> bytes:
    return encoded(tone(400, 400), "webm", "libopus")


class Rig:
    """One session with its client, its ears and its engines, all of which the source decides."""

    def __init__(self, source: Source) -> None:
        streaming = source.one_in(8)
        options = SessionOptions(languages=("en", "vi"), streaming=streaming)
        if source.one_in(4):  # segments so short that every cut is reached
            options = SessionOptions(
                languages=("en", "vi"),
                streaming=streaming,
                segment_ms=3000,
                commit_ms=1500,
                commit_sentence_ms=800,
                search_ms=800,
            )
        self.source = source
        self.session = Session(options)
        self.now = 1000.0
        self.told: list[Message] = []
        self.jobs: dict[int, Decode | Judge] = {}
        self.withdrawn: dict[int, Decode | Judge] = {}
        self.flushes = 0
        self.ended = False
        self._listener = Listener(EnergyVad())
        self._ear: Ear | None = None
        self._stable = ""

    def live(self) -> None:
        """Until the session is over, one way or another."""
        try:
            if self.source.one_in(2):
                self.message(json_text(self.source, start_fields(self.source), wrong_in=20))
            for _ in range(self.source.below(40)):
                self.step()
            self.end()
        except ProtocolError as error:
            check_refusal(error)
            if not error.fatal:
                self.end()

    def step(self) -> None:
        source = self.source
        kind = source.below(16)
        if kind < 6:
            self.hear([self.audio()])
        elif kind < 9:
            self.answer_one()
        elif kind < 12:
            self.now += source.choice((0.0, 0.02, 0.1, 0.7, 3.0))
            self.carry_out(self.session.tick(self.now))
        elif kind == 12:
            self.answer_late()
        elif kind == 13:
            self.session.returned(self.now)
        elif kind == 14:
            self.obey(Flush())
        else:
            self.message(message_text(source, wrong_in=20))

    def end(self) -> None:
        """The client stops, and the engines answer all that is owed."""
        if not self.session.stopping:
            self.obey(Stop())
        for _ in range(1000):
            if not self.jobs:
                break
            self.answer_one()
        check(not self.jobs, "the session asks for ever")
        check(self.ended, "nothing is owed, but the session does not end")
        self.check_story()

    # The client.

    def audio(self) -> bytes:
        source = self.source
        encoding = self.session.start.encoding
        kind = source.below(8)
        if kind == 7:
            return source.take(source.below(64))
        if encoding is Encoding.OPUS:
            return source.choice(_opus())
        if encoding is Encoding.WEBM:
            at = source.below(len(_webm()))
            return _webm()[at : at + source.below(2000)] if kind else _webm()
        size = source.choice((640, 3200, 1, 0, 1023, 16_000, 32_001))
        if kind < 3:
            return bytes(size)
        noise = zlib.crc32(source.take(2))
        return np.random.default_rng(noise).bytes(size)

    def message(self, written: str) -> None:
        message = _CODEC.decode(written)
        if isinstance(message, Start):
            check_audio(message)
        self.obey(message)

    def obey(self, message: Start | Flush | Stop) -> None:
        if not isinstance(message, Start) and not self.session.stopping:
            self.hear([], flush=True)
        self.carry_out(self.session.receive(message, self.now))
        if isinstance(message, Start):
            self._ear = self._listener.new_ear(self.session.start)
        self.flushes += isinstance(message, Flush)

    def hear(self, chunks: list[bytes], *, flush: bool = False) -> None:
        if not flush:
            self.session.expect_audio()
            self._check_room()
        if self._ear is None:
            self._ear = self._listener.new_ear(self.session.start)
        heard = self._listener.hear([Hearing(self._ear, chunks, flush)])[0]
        if isinstance(heard, Exception):
            raise heard
        assert isinstance(heard, Heard)
        check(bool(np.isfinite(heard.samples).all()), "samples that are no numbers")
        self.now += self.source.choice((heard.received_s, 0.0))
        self.carry_out(
            self.session.hear(heard.samples, heard.probabilities, heard.received_s, self.now)
        )

    def _check_room(self) -> None:
        """A congested session takes no audio before an answer is there."""
        while self.session.congested:
            check(bool(self.jobs), "congested, but nothing is under way")
            self.answer_one()

    # The engines.

    def carry_out(self, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case Send(message):
                    check(not self.ended, f"{message!r} after the end")
                    encode(message)
                    self._check_promise(message)
                    self.told.append(message)
                case Decode() | Judge():
                    check(command.job_id not in self.jobs, "a job twice")
                    self.jobs[command.job_id] = command
                case Cancel(job_id):
                    check(job_id in self.jobs, f"{job_id} is withdrawn, but was not under way")
                    self.withdrawn[job_id] = self.jobs.pop(job_id)
                case Listen(start, request):
                    check(start >= 0 and len(request.audio) == 0, "a beginning with audio")
                case End():
                    check(not self.ended, "ended twice")
                    self.ended = True

    def answer_one(self) -> None:
        if self.jobs:
            job_id = self.source.choice(list(self.jobs))
            self._answer(job_id, self.jobs.pop(job_id))

    def answer_late(self) -> None:
        """The answer of a job that was withdrawn a moment ago: the real driver drops them, too."""
        if self.withdrawn:
            self.withdrawn.clear()

    def _answer(self, job_id: int, job: Decode | Judge) -> None:
        source = self.source
        cost = JobCost(float(source.below(2000)), float(source.below(5000)), 1)
        if source.one_in(8):
            self.carry_out(self.session.failed(job_id, self.now))
        elif isinstance(job, Judge):
            self.carry_out(self.session.judged(job_id, source.below(101) / 100, cost, self.now))
        else:
            check(len(job.request.audio) > 0, "a request without audio")
            hypothesis = self._hypothesis(job)
            self.carry_out(self.session.decoded(job_id, hypothesis, cost, self.now))

    def _hypothesis(self, job: Decode) -> Hypothesis:
        source = self.source
        if source.one_in(8) and not job.request.prefix:
            return Hypothesis(text="", suppressed="no_speech")
        # What was said is where it was said, so that hypotheses agree; their ends may change.
        first, count = job.start // _WORD_SAMPLES, len(job.request.audio) // _WORD_SAMPLES
        spoken = [_WORDS[at % len(_WORDS)] for at in range(first, first + min(count, 40))]
        words = spoken[len(job.request.prefix.split()) :]
        words += [source.choice(_WORDS) for _ in range(source.below(3))]
        written = " ".join([job.request.prefix, *words]).strip()
        stable = None
        if self.session.options.streaming and not job.request.final:
            stable = " ".join([job.request.prefix, *words[: source.below(3)]]).strip()
        timed = HypothesisWord("yes", source.below(9999), source.below(9999), 0.123456)
        return Hypothesis(
            text=written,
            confidence=source.choice((None, 0.9, 0.1)),
            words=(timed,) if job.request.word_timestamps else (),
            stable=stable,
        )

    # Promises.

    def _check_promise(self, message: Message) -> None:
        """`stable_text` only grows until the final that begins with it."""
        match message:
            case Partial():
                check(message.text.startswith(message.stable_text), "stable, but not in the text")
                check(message.stable_text.startswith(self._stable), "a promise was taken back")
                check(message.start_ms <= message.end_ms, "a partial that ends before it begins")
                self._stable = message.stable_text
            case TurnPending():
                check(message.text.startswith(self._stable), "pending text breaks the promise")
            case Final():
                lost = message.suppressed == "engine_failed"
                check(lost or message.text.startswith(self._stable), "a final breaks the promise")
                check(message.start_ms <= message.end_ms, "a final that ends before it begins")
                self._stable = ""

    def check_story(self) -> None:
        """Every turn has one final that ends it, every flush one; nothing is lost or twice."""
        starts = sum(isinstance(message, SpeechStarted) for message in self.told)
        ends = sum(isinstance(message, Final) and message.turn_end for message in self.told)
        check(starts <= ends <= starts + self.flushes, f"{starts} turns, {ends} ends of turns")
        check(ends >= self.flushes, f"{self.flushes} flushes, {ends} ends of turns")
        last = self.told[-1]
        check(isinstance(last, Stopped), f"{last!r} is the last message")
        assert isinstance(last, Stopped)
        check(last.dropped_ms == 0, f"{last.dropped_ms} ms were dropped")
        finals = [message for message in self.told if isinstance(message, Final)]
        in_order = all(a.end_ms <= b.end_ms for a, b in zip(finals, finals[1:], strict=False))
        check(in_order, "finals out of order")


def attempt(source: Source) -> None:
    Rig(source).live()
