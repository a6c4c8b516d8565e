"""One listener's conversation as a state machine: audio and results in, messages and jobs out.

Sans-I/O: no clock, no thread, no socket. Audio time is sample counts; wall-clock time comes in with
every call as `now` (seconds, monotonic). Each method returns commands that the caller carries out;
job results come back through :meth:`Session.decoded` and :meth:`Session.judged`.

A turn is cut into segments (28 s at most), each of which ends in one final. A segment has at most
one partial job under way; at a pause the final is begun early (speculation) and used if nothing
more is said.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.asr.agreement import Agreement
from services.asr.arrival import Arrival
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
from services.asr.degradation import Level
from services.asr.endpointing import Endpointer, EndpointingOptions, Event
from services.asr.engines.base import DecodeRequest, Hypothesis
from services.asr.history import AudioHistory
from services.asr.languages import known_language
from services.asr.messages import (
    ClientMessage,
    Flush,
    Partial,
    SpeechStarted,
    Start,
    Stop,
    Stopped,
    TurnMode,
    TurnPending,
    TurnResumed,
)
from services.asr.turns import SAMPLES_PER_MS, ClosedSegment, FinalJob, Turn, final_of, ms_of
from services.asr.vad.base import FRAME_SAMPLES, Floats
from services.shared.protocol.base import ErrorCode, Message, ProtocolError

_SENTENCE_ENDS = (".", "?", "!", "。", "？", "！", "…")
_TURN_MODEL_SAMPLES = 8 * 16_000
_NOTHING: Floats = np.zeros(0, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """What the operator decided for all sessions."""

    endpointing: EndpointingOptions = EndpointingOptions()
    languages: tuple[str, ...] = ("en",)
    partial_every_ms: int = 250
    """New audio that is worth a new partial, while the engine is quick."""
    partial_slowest_ms: int = 1500
    """Under load a session asks for a partial only after twice the time that its last one took,
    which leaves the engine to the finals; but never more rarely than this."""
    partial_after_ms: int = 400
    """Shortest speech that gets a partial."""
    settle_ms: int = 1000
    """Hypotheses over less speech than this are shown, but promise nothing."""
    trust: float = 0.5
    """Nor do hypotheses of less confidence: Whisper's inventions on little audio are unsure."""
    segment_ms: int = 28_000
    """Longest audio of one final."""
    commit_ms: int = 15_000
    """A segment longer than this is closed at the next pause after which the speaker goes on."""
    commit_sentence_ms: int = 6_000
    """And one longer than this, when what was said before the pause is a whole sentence."""
    search_ms: int = 4_000
    """Where the cut of an endless segment is looked for: the quietest frame of its last part."""
    max_unfinished: int = 3
    """Finals being decoded before no more audio is taken from the client."""
    streaming: bool = False
    """The engine listens along (:attr:`.Capabilities.streaming`): a final is begun only when it is
    wanted, and a segment is cut where the audio ends, never further back."""


class Session:
    """The state machine. Not thread-safe; one owner calls it."""

    def __init__(self, options: SessionOptions) -> None:
        self.options = options
        self.start = Start()
        self._started = False
        self._stopping = False
        self._departing = False
        self._ended = False
        self._history = AudioHistory()
        self._endpointer = Endpointer(options.endpointing)
        self._quietness: deque[float] = deque(
            maxlen=options.search_ms // options.endpointing.frame_ms
        )
        self._turn: Turn | None = None
        self._closed: deque[ClosedSegment] = deque()
        self._taken = 0
        """Sample up to which audio belongs to a closed segment."""
        self._voice_start = 0
        """First sample of the latest frames that are voiced in a row."""
        self._speech_samples = 0
        self._received_s = 0.0
        self._arrival = Arrival(options.endpointing.frame_ms / 1000)
        self._partial_every_ms = float(options.partial_every_ms)
        self._level = Level.NORMAL
        self._next_job = 0
        self._out: list[Command] = []

    # What the caller may ask.

    @property
    def congested(self) -> bool:
        """So many finals wait for the engine that no more audio should be taken in."""
        return len(self._closed) >= self.options.max_unfinished

    @property
    def stopping(self) -> bool:
        return self._stopping

    @property
    def working(self) -> bool:
        """A final is owed."""
        return bool(self._closed)

    @property
    def speaking(self) -> bool:
        """Somebody speaks, and does not pause."""
        return self._turn is not None and not self._endpointer.paused

    @property
    def resting(self) -> bool:
        """No turn is open, no final owed, and nothing sounds like a beginning."""
        return self._turn is None and not self._closed and self._endpointer.voiced_run == 0

    # Inputs.

    def receive(self, message: ClientMessage, now: float) -> list[Command]:
        """A control message.

        Raises:
            ProtocolError: out of order, or asking for what the service has not.
        """
        if self._stopping:
            raise ProtocolError(
                ErrorCode.UNEXPECTED_MESSAGE, f'"{message.type}" after "stop": the session is over'
            )
        match message:
            case Start():
                self._configure(message)
            case Flush():
                self._started = True
                self._flush(now)
            case Stop():
                self._started = True
                self._stopping = True
                self._adopt_last_sound(now)
                if self._turn is not None:
                    self._close_turn(now)
                self._end_if_done()
        return self._commands()

    def depart(self, now: float) -> list[Command]:
        """The service must go: an open turn ends here; once all is answered, leave.

        Nothing may be heard or received after it. A client that has said `stop` is answered first.
        """
        if not self._stopping:
            self._stopping = self._departing = True
            self._adopt_last_sound(now)
            if self._turn is not None:
                self._close_turn(now)
            self._end_if_done()
        return self._commands()

    def release(self) -> None:
        """The session is over: its audio need not wait for the garbage collector."""
        self._history.release()

    def expect_audio(self) -> None:
        """Audio has arrived; from here on a `start` would be too late.

        Raises:
            ProtocolError: after `stop`.
        """
        if self._stopping:
            raise ProtocolError(
                ErrorCode.UNEXPECTED_MESSAGE, 'audio after "stop": the session is over'
            )
        self._started = True

    def hear(
        self, samples: Floats, probabilities: Sequence[float], received_s: float, now: float
    ) -> list[Command]:
        """Audio with one voice probability a frame; the last frame may be short.

        Args:
            samples: [n], 16 kHz.
            probabilities: [ceil(n / FRAME_SAMPLES)].
            received_s: duration of the client's audio that these samples came from.
        """
        self._received_s += received_s
        self._arrival.heard(received_s, now)
        for index, probability in enumerate(probabilities):
            frame = samples[index * FRAME_SAMPLES : (index + 1) * FRAME_SAMPLES]
            self._hear_frame(frame, probability, now)
        self._want_partial()
        self._forget()
        return self._commands()

    def decoded(
        self, job_id: int, hypothesis: Hypothesis, cost: JobCost, now: float
    ) -> list[Command]:
        """A decode's answer."""
        turn = self._turn
        if turn is not None and job_id == turn.partial_job:
            turn.partial_job = None
            self._adapt_partials(cost)
            self._take_partial(turn, hypothesis)
            self._want_partial()
        elif turn is not None and turn.final_job and job_id == turn.final_job.job_id:
            self._take_speculation(turn, turn.final_job, hypothesis, cost)
        else:
            self._take_final(job_id, hypothesis, cost, now)
        return self._commands()

    def judged(self, job_id: int, probability: float, cost: JobCost, now: float) -> list[Command]:
        """The turn model's answer: is the speaker done?"""
        turn = self._turn
        if turn is not None and turn.judge_job == job_id:
            turn.judge_job = None
            turn.turn_model_ms = cost.queue_ms + cost.run_ms
            done = probability > self._endpointer.options.threshold
            if done and self._endpointer.paused:
                turn.done = True
                self._end_if_judged(turn, now)
        return self._commands()

    def failed(self, job_id: int, now: float) -> list[Command]:
        """A job came to nothing.

        A lost partial is replaced by the next, a lost speculation by the decode at the turn's end,
        a lost decision by silence alone; a lost final is an empty one that says so.
        """
        turn = self._turn
        if turn is not None and job_id == turn.partial_job:
            turn.partial_job = None
        elif turn is not None and job_id == turn.judge_job:
            turn.judge_job = None
        elif turn is not None and turn.final_job and job_id == turn.final_job.job_id:
            turn.final_job = None
        else:
            nothing = Hypothesis(text="", suppressed="engine_failed")
            self._take_final(job_id, nothing, JobCost(), now)
        return self._commands()

    def economise(self, level: Level) -> list[Command]:
        """The service is so much overloaded: save what the level says."""
        if level >= Level.FINALS_ONLY > self._level and self._turn is not None:
            self._drop_partial(self._turn)
        self._level = level
        return self._commands()

    def returned(self, now: float) -> None:
        """The client is back on another connection: what is missing is on its way."""
        self._arrival.excuse(now)

    def tick(self, now: float) -> list[Command]:
        """Wall clock: some callers send nothing in silence, which then counts as silence.

        Call it only while no audio of this client waits to be heard.
        """
        while self._turn is not None and self._arrival.misses_frame(now):
            for event in self._endpointer.feed(0.0):
                self._on_event(event, now)
        return self._commands()

    # Listening.

    def _configure(self, message: Start) -> None:
        if self._started:
            raise ProtocolError(
                ErrorCode.UNEXPECTED_MESSAGE,
                '"start" must be the first message, before any audio, and is sent once',
            )
        self._started = True
        language = message.language
        if language is not None:
            language = known_language(language, self.options.languages)
        self.start = message.model_copy(update={"language": language})
        self._endpointer.options = self.options.endpointing.overridden(message.turn)

    def _hear_frame(self, frame: Floats, probability: float, now: float) -> None:
        self._history.append(frame)
        self._quietness.append(probability)
        events = self._endpointer.feed(probability)
        if self._endpointer.voiced_run == 1:
            self._voice_start = self._history.end - len(frame)
        for event in events:
            self._on_event(event, now)
        if self._turn is not None:
            self._end_if_judged(self._turn, now)
        turn = self._turn
        if turn is None:
            return
        if self._endpointer.silent_run == 0:
            self._note_voice(turn, self._history.end - len(frame), now)
        if self._history.end - turn.start >= self._longest_segment():
            self._cut_endless(turn, now)

    def _on_event(self, event: Event, now: float) -> None:
        turn = self._turn
        if event is Event.STARTED:
            self._begin_turn(now)
        elif turn is None:
            return  # an earlier event of the same frame ended the turn
        elif event is Event.PAUSED:
            self._speculate(turn, now)
        elif event is Event.JUDGE:
            self._ask_turn_model(turn)
        elif event is Event.RESUMED:
            self._resume(turn, now)
        else:
            self._close_turn(now)

    def _begin_turn(self, now: float) -> None:
        voiced = max(self._taken, self._voice_start)
        pre_roll = self._endpointer.options.pre_roll_ms * SAMPLES_PER_MS
        start = max(self._taken, self._history.start, voiced - pre_roll)
        self._turn = Turn(start, start, voiced, voiced, now, partial_end=voiced)
        self._note_voice(self._turn, voiced, now)
        self._send(SpeechStarted(start_ms=ms_of(voiced)))

    def _note_voice(self, turn: Turn, since: int, now: float) -> None:
        if not turn.listening:
            turn.listening = True
            self._out.append(Listen(turn.start, self._request(turn, _NOTHING, final=True)))
        end = self._history.end
        self._speech_samples += end - max(since, turn.speech_end)
        turn.speech_end, turn.voiced_at = end, now

    def _speculate(self, turn: Turn, now: float) -> None:
        """Begin the final at a pause, in case nothing more is said."""
        if self.options.streaming:
            self._commit(turn, now)
            return
        if self._endpointer.options.mode is TurnMode.MANUAL:
            return
        self._drop_partial(turn)
        turn.final_job = self._begin_final(turn, self._history.end, speculative=True)

    def _commit(self, turn: Turn, now: float) -> None:
        """Close a long segment at a pause, whether or not the speaker goes on."""
        if self._history.end - turn.start >= self.options.commit_ms * SAMPLES_PER_MS:
            job = self._begin_final(turn, self._history.end, speculative=False)
            self._close_segment(turn, job, turn_end=False, now=now)

    def _ask_turn_model(self, turn: Turn) -> None:
        if turn.judge_job is not None:
            return
        end = self._history.end
        turn.judge_job = self._job()
        # The whole turn counts, also what earlier finals of it have covered.
        audio = self._history.slice(max(turn.began, end - _TURN_MODEL_SAMPLES), end)
        silence = np.zeros(self._endpointer.verdict_in_ms * SAMPLES_PER_MS, dtype=np.float32)
        audio = np.concatenate([audio, silence])
        self._out.append(Judge(turn.judge_job, audio))

    def _end_if_judged(self, turn: Turn, now: float) -> None:
        """The turn model says that the speaker is done: believe it after the silence it assumed."""
        if turn.done and self._endpointer.verdict_due:
            self._close_turn(now)

    def _resume(self, turn: Turn, now: float) -> None:
        self._drop_judge(turn)
        turn.done = False
        if turn.pending_told:
            turn.pending_told = False
            self._send(TurnResumed())
        end, job = self._history.end, turn.final_job
        turn.final_job = None
        if job is not None and self._worth_closing(job, end):
            self._close_segment(turn, job, turn_end=False, now=now)
        elif job is not None and job.hypothesis is None:
            self._out.append(Cancel(job.job_id))
        voiced = max(turn.start, self._voice_start)
        if turn.speech_end <= turn.start:
            turn.speech_start = voiced
        self._note_voice(turn, voiced, now)

    def _worth_closing(self, job: FinalJob, end: int) -> bool:
        """A segment ends at a pause when it is long, or when a sentence of some length ends there.

        Short segments are cheap to decode, and Whisper hears better what it hears in one piece.
        """
        length_ms = ms_of(end - job.start)  # the pause counts: it would be part of the segment
        if job.hypothesis is None or not job.hypothesis.text.endswith(_SENTENCE_ENDS):
            return length_ms >= self.options.commit_ms
        return length_ms >= self.options.commit_sentence_ms

    # Partials.

    def _want_partial(self) -> None:
        """Start the next partial when there is new speech and nothing better is under way."""
        turn = self._turn
        if turn is None or not self.start.partials or turn.partial_job is not None:
            return
        if self._level >= Level.FINALS_ONLY:
            return
        if self._closed or turn.final_job is not None or turn.speech_end <= turn.partial_end:
            return
        end = self._history.end
        fresh_ms = ms_of(end - turn.partial_end)
        spoken_ms = ms_of(end - turn.speech_start)
        sparse = self._level is Level.SPARSE
        every_ms = self._partial_pace_ms(turn, sparse=sparse)
        enough = fresh_ms >= every_ms or (self._endpointer.paused and not sparse)
        if not enough or spoken_ms < self.options.partial_after_ms:
            return
        turn.partial_job = self._job()
        turn.partial_end = end
        self._decode(turn.partial_job, turn, end, final=False)

    def _partial_pace_ms(self, turn: Turn, *, sparse: bool) -> float:
        """The first one is never put off: whoever is interrupted waits for it."""
        if turn.partial_end == turn.speech_start:
            return self.options.partial_every_ms
        return self.options.partial_slowest_ms if sparse else self._partial_every_ms

    def _adapt_partials(self, cost: JobCost) -> None:
        wanted = max(self.options.partial_every_ms, 2 * (cost.queue_ms + cost.run_ms))
        self._partial_every_ms = min(wanted, self.options.partial_slowest_ms)

    def _take_partial(self, turn: Turn, hypothesis: Hypothesis) -> None:
        before = (turn.agreement.text, turn.agreement.stable)
        self._agree(turn, hypothesis, turn.partial_end)
        after = (turn.agreement.text, turn.agreement.stable)
        if after == before or not turn.agreement.text:
            return
        self._send(
            Partial(
                text=turn.agreement.text,
                stable_text=turn.agreement.stable,
                start_ms=ms_of(turn.speech_start),
                end_ms=ms_of(turn.partial_end),
            )
        )

    def _agree(self, turn: Turn, hypothesis: Hypothesis, end: int) -> None:
        """Compare with the hypothesis before; very short or unsure ones promise nothing."""
        if hypothesis.stable is not None:
            turn.agreement.promise(hypothesis.text, hypothesis.stable, end)
            return
        settled = ms_of(end - turn.speech_start) >= self.options.settle_ms
        sure = hypothesis.confidence is None or hypothesis.confidence >= self.options.trust
        turn.agreement.update(hypothesis.text, end, trusted=settled and sure)

    def _drop_partial(self, turn: Turn) -> None:
        if turn.partial_job is not None:
            self._out.append(Cancel(turn.partial_job))
            turn.partial_job = None

    def _drop_judge(self, turn: Turn) -> None:
        if turn.judge_job is not None:
            self._out.append(Cancel(turn.judge_job))
            turn.judge_job = None

    # Finals.

    def _begin_final(self, turn: Turn, end: int, *, speculative: bool) -> FinalJob:
        job = FinalJob(self._job(), turn.start, end, speculative)
        self._decode(job.job_id, turn, end, final=True)
        return job

    def _take_speculation(
        self, turn: Turn, job: FinalJob, hypothesis: Hypothesis, cost: JobCost
    ) -> None:
        job.hypothesis, job.cost = hypothesis, cost
        self._agree(turn, hypothesis, job.end)
        self._tell_pending()

    def _tell_pending(self) -> None:
        """Announce the final that will come if nothing more is said, but after those before it."""
        turn = self._turn
        if turn is None or turn.final_job is None or turn.pending_told or self._closed:
            return
        hypothesis = turn.final_job.hypothesis
        if hypothesis is not None and hypothesis.text:
            turn.pending_told = True
            self._send(TurnPending(text=hypothesis.text))

    def _flush(self, now: float) -> None:
        """End the current turn; every flush is answered by exactly one final with `turn_end`."""
        self._adopt_last_sound(now)
        if self._turn is not None:
            self._close_turn(now)
        else:
            self._answer_silence(now)

    def _answer_silence(self, now: float) -> None:
        """An empty final, in its turn behind those that are still being decoded."""
        end = self._history.end
        job = self._empty_final(end)
        self._closed.append(ClosedSegment(job, end, end, True, now, 0.0, 0.0))
        self._emit_finals(now)

    def _adopt_last_sound(self, now: float) -> None:
        """A sound too short to start or resume a turn counts when the client says it is over."""
        turn = self._turn
        if self._endpointer.voiced_run == 0:
            return
        if turn is None:
            self._endpointer.begin_turn()
            self._begin_turn(now)
        elif self._endpointer.paused:
            self._endpointer.resume()
            self._resume(turn, now)

    def _close_turn(self, now: float) -> None:
        turn = self._turn
        assert turn is not None
        self._drop_judge(turn)
        self._close_segment(turn, turn.final_job or self._last_final(turn), turn_end=True, now=now)
        self._turn = None
        self._endpointer.end_turn()

    def _last_final(self, turn: Turn) -> FinalJob:
        if turn.speech_end > turn.start:
            return self._begin_final(turn, self._history.end, speculative=False)
        return self._empty_final(turn.start)

    def _empty_final(self, at: int) -> FinalJob:
        """Nothing was said since the last one: no model is needed to know that."""
        nothing = Hypothesis(text="")
        return FinalJob(self._job(), at, at, False, nothing, JobCost(batch_size=0))

    def _cut_endless(self, turn: Turn, now: float) -> None:
        """Close a segment at its length limit, where it is quietest and nothing is promised yet."""
        if turn.final_job is not None:
            return  # a pause, before which the segment ends if the speaker goes on
        if turn.speech_end <= turn.start:
            pre_roll = self._endpointer.options.pre_roll_ms * SAMPLES_PER_MS
            # Nothing but silence since the last cut: it needs no final.
            turn.start = self._taken = max(turn.start, self._history.end - pre_roll)
            return
        job = self._begin_final(turn, self._quietest_cut(turn), speculative=False)
        self._close_segment(turn, job, turn_end=False, now=now)

    def _longest_segment(self) -> int:
        """In samples. Who cannot cut further back cuts early, if there is a silence."""
        longest_ms = self.options.segment_ms
        if self.options.streaming and self._endpointer.silent_run > 0:
            longest_ms -= self.options.search_ms
        return longest_ms * SAMPLES_PER_MS

    def _quietest_cut(self, turn: Turn) -> int:
        end = self._history.end
        if self.options.streaming:
            return end
        free = end - max(turn.start, turn.agreement.stable_end)
        frames = min(len(self._quietness), free // FRAME_SAMPLES)
        if frames < 2:
            return end
        recent = list(self._quietness)[-frames:]
        quietest = min(range(frames - 1), key=lambda index: recent[index])
        return end - (frames - 1 - quietest) * FRAME_SAMPLES

    def _close_segment(self, turn: Turn, job: FinalJob, *, turn_end: bool, now: float) -> None:
        self._drop_partial(turn)
        speech_end = min(max(turn.speech_end, job.start), job.end)
        self._closed.append(
            ClosedSegment(
                job=job,
                start=min(turn.speech_start, speech_end),
                end=speech_end,
                turn_end=turn_end,
                voiced_at=turn.voiced_at,
                vad_wait_ms=(now - turn.voiced_at) * 1000,
                turn_model_ms=turn.turn_model_ms,
            )
        )
        self._taken = job.end
        turn.start = turn.speech_start = turn.partial_end = job.end
        turn.agreement = Agreement()
        turn.listening = False
        turn.final_job = None
        self._emit_finals(now)

    def _take_final(self, job_id: int, hypothesis: Hypothesis, cost: JobCost, now: float) -> None:
        for closed in self._closed:
            if closed.job.job_id == job_id:
                closed.job.hypothesis, closed.job.cost = hypothesis, cost
        self._emit_finals(now)

    def _emit_finals(self, now: float) -> None:
        words = self.start.word_timestamps
        while self._closed and self._closed[0].job.hypothesis is not None:
            closed = self._closed.popleft()
            self._send(final_of(closed, word_timestamps=words, now=now))
        self._tell_pending()
        self._end_if_done()

    # Odds and ends.

    def _decode(self, job_id: int, turn: Turn, end: int, *, final: bool) -> None:
        audio = self._history.slice(turn.start, end)
        self._out.append(Decode(job_id, self._request(turn, audio, final=final), turn.start))

    def _request(self, turn: Turn, audio: Floats, *, final: bool) -> DecodeRequest:
        return DecodeRequest(
            audio=audio,
            final=final,
            language=self.start.language,
            prefix=turn.agreement.stable,
            prompt=self.start.prompt or "",
            hotwords=self.start.hotwords,
            word_timestamps=final and self.start.word_timestamps,
        )

    def _end_if_done(self) -> None:
        if not self._stopping or self._ended or self._turn is not None or self._closed:
            return
        self._ended = True
        received = round(self._received_s * 1000 * SAMPLES_PER_MS)
        # Resampling rounds to whole samples, once for each flush.
        missing = max(0, received - self._history.end)
        received_ms, speech_ms = ms_of(received), ms_of(self._speech_samples)
        if self._departing:
            self._out.append(Leave(received_ms, speech_ms, ms_of(missing)))
            return
        self._send(Stopped(received_ms=received_ms, speech_ms=speech_ms, dropped_ms=ms_of(missing)))
        self._out.append(End())

    def _forget(self) -> None:
        end = self._history.end
        pre_roll = self._endpointer.options.pre_roll_ms * SAMPLES_PER_MS
        needed = end - pre_roll - 32 * FRAME_SAMPLES
        if self._turn is not None:
            needed = min(needed, self._turn.start, end - _TURN_MODEL_SAMPLES)
        self._history.forget(needed)

    def _job(self) -> int:
        self._next_job += 1
        return self._next_job

    def _send(self, message: Message) -> None:
        self._out.append(Send(message))

    def _commands(self) -> list[Command]:
        commands, self._out = self._out, []
        return commands
