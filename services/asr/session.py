"""One listener's conversation as a state machine: audio and results in, messages and jobs out.

Sans-I/O: no clock, no thread, no socket. Audio time is sample counts; wall-clock time comes in with
every call as `now` (seconds, monotonic). Each method returns commands that the caller carries out;
job results come back through :meth:`Session.decoded` and :meth:`Session.judged`.

Here it is decided when somebody speaks, pauses and is done. A turn is cut into segments (28 s at
most); :class:`.SegmentWriter` makes partials and finals of them.
"""

from collections.abc import Sequence

import numpy as np

from services.asr.arrival import Arrival
from services.asr.commands import Command, End, JobCost, Judge, Leave, Orders
from services.asr.degradation import Level
from services.asr.endpointing import Endpointer, Event
from services.asr.engines.base import Hypothesis
from services.asr.history import AudioHistory
from services.asr.languages import known_language
from services.asr.messages import (
    ClientMessage,
    Flush,
    SpeechStarted,
    Start,
    Stop,
    Stopped,
    TurnMode,
    TurnResumed,
)
from services.asr.quietness import Quietness
from services.asr.segment_writer import SegmentWriter
from services.asr.session_options import SessionOptions
from services.asr.turns import SAMPLES_PER_MS, Turn, ms_of
from services.asr.vad.base import FRAME_SAMPLES, Floats
from services.shared.protocol.base import ErrorCode, ProtocolError

_TURN_MODEL_SAMPLES = 8 * 16_000


class Session:
    """The state machine. Not thread-safe; one owner calls it."""

    def __init__(self, options: SessionOptions) -> None:
        self.options = options
        self._started = False
        self._stopping = False
        self._departing = False
        self._ended = False
        self._history = AudioHistory()
        self._endpointer = Endpointer(options.endpointing)
        self._quietness = Quietness(options.search_ms // options.endpointing.frame_ms)
        self._orders = Orders()
        self._writer = SegmentWriter(options, self._history, self._orders)
        self._turn: Turn | None = None
        self._taken = 0
        """Sample up to which audio belongs to a turn that is over."""
        self._voice_start = 0
        """First sample of the latest frames that are voiced in a row."""
        self._speech_samples = 0
        self._received_s = 0.0
        self._arrival = Arrival(options.endpointing.frame_ms / 1000)

    # What the caller may ask.

    @property
    def start(self) -> Start:
        """What the client asked for."""
        return self._writer.start

    @property
    def congested(self) -> bool:
        """So many finals wait for the engine that no more audio should be taken in."""
        return self._writer.owed >= self.options.max_unfinished

    @property
    def stopping(self) -> bool:
        return self._stopping

    @property
    def working(self) -> bool:
        """A final is owed."""
        return self._writer.owed > 0

    @property
    def speaking(self) -> bool:
        """Somebody speaks, and does not pause."""
        return self._turn is not None and not self._endpointer.paused

    @property
    def resting(self) -> bool:
        """No turn is open, no final owed, and nothing sounds like a beginning."""
        return self._turn is None and not self.working and self._endpointer.voiced_run == 0

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
        if self._turn is not None:
            self._writer.want_partial(self._turn, paused=self._endpointer.paused)
        self._forget()
        return self._commands()

    def decoded(
        self, job_id: int, hypothesis: Hypothesis, cost: JobCost, now: float
    ) -> list[Command]:
        """A decode's answer."""
        turn = self._turn
        if turn is not None and job_id == turn.partial_job:
            self._writer.take_partial(turn, hypothesis, cost)
            self._writer.want_partial(turn, paused=self._endpointer.paused)
        elif turn is not None and turn.final_job and job_id == turn.final_job.job_id:
            self._writer.take_speculation(turn, hypothesis, cost)
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
        self._writer.economise(level, self._turn)
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
        self._writer.start = message.model_copy(update={"language": language})
        self._endpointer.options = self.options.endpointing.overridden(message.turn)

    def _hear_frame(self, frame: Floats, probability: float, now: float) -> None:
        self._history.append(frame)
        self._quietness.heard(probability)
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
        self._orders.send(SpeechStarted(start_ms=ms_of(voiced)))

    def _note_voice(self, turn: Turn, since: int, now: float) -> None:
        self._writer.listen(turn)
        end = self._history.end
        self._speech_samples += end - max(since, turn.speech_end)
        turn.speech_end, turn.voiced_at = end, now

    def _speculate(self, turn: Turn, now: float) -> None:
        if self.options.streaming:
            self._commit(turn, now)
        elif self._endpointer.options.mode is not TurnMode.MANUAL:
            self._writer.speculate(turn)

    def _commit(self, turn: Turn, now: float) -> None:
        """Close a long segment at a pause, whether or not the speaker goes on."""
        if self._history.end - turn.start >= self.options.commit_ms * SAMPLES_PER_MS:
            job = self._writer.begin_final(turn, self._history.end)
            self._writer.close(turn, job, turn_end=False, now=now)

    def _ask_turn_model(self, turn: Turn) -> None:
        if turn.judge_job is not None:
            return
        end = self._history.end
        turn.judge_job = self._orders.next_job()
        # The whole turn counts, also what earlier finals of it have covered.
        audio = self._history.slice(max(turn.began, end - _TURN_MODEL_SAMPLES), end)
        silence = np.zeros(self._endpointer.verdict_in_ms * SAMPLES_PER_MS, dtype=np.float32)
        audio = np.concatenate([audio, silence])
        self._orders.add(Judge(turn.judge_job, audio))

    def _end_if_judged(self, turn: Turn, now: float) -> None:
        """The turn model says that the speaker is done: believe it after the silence it assumed."""
        if turn.done and self._endpointer.verdict_due:
            self._close_turn(now)

    def _resume(self, turn: Turn, now: float) -> None:
        self._drop_judge(turn)
        turn.done = False
        if turn.pending_told:
            turn.pending_told = False
            self._orders.send(TurnResumed())
        self._writer.resume(turn, now)
        voiced = max(turn.start, self._voice_start)
        if turn.speech_end <= turn.start:
            turn.speech_start = voiced
        self._note_voice(turn, voiced, now)

    def _drop_judge(self, turn: Turn) -> None:
        self._orders.cancel(turn.judge_job)
        turn.judge_job = None

    def _flush(self, now: float) -> None:
        """End the current turn; every flush is answered by exactly one final with `turn_end`."""
        self._adopt_last_sound(now)
        if self._turn is not None:
            self._close_turn(now)
        else:
            self._writer.answer_silence(now)

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
        self._writer.close_turn(turn, now)
        self._taken = turn.start
        self._turn = None
        self._endpointer.end_turn()

    def _cut_endless(self, turn: Turn, now: float) -> None:
        """Close a segment at its length limit, where it is quietest and nothing is promised yet."""
        if turn.final_job is not None:
            return  # a pause, before which the segment ends if the speaker goes on
        if turn.speech_end <= turn.start:
            pre_roll = self._endpointer.options.pre_roll_ms * SAMPLES_PER_MS
            # Nothing but silence since the last cut: it needs no final.
            turn.start = max(turn.start, self._history.end - pre_roll)
            return
        end = cut = self._history.end
        if not self.options.streaming:
            cut = self._quietness.quietest(end, end - max(turn.start, turn.agreement.stable_end))
        self._writer.close(turn, self._writer.begin_final(turn, cut), turn_end=False, now=now)

    def _longest_segment(self) -> int:
        """In samples. Who cannot cut further back cuts early, if there is a silence."""
        longest_ms = self.options.segment_ms
        if self.options.streaming and self._endpointer.silent_run > 0:
            longest_ms -= self.options.search_ms
        return longest_ms * SAMPLES_PER_MS

    def _take_final(self, job_id: int, hypothesis: Hypothesis, cost: JobCost, now: float) -> None:
        self._writer.take_final(job_id, hypothesis, cost, now)
        if self._turn is not None:
            self._writer.tell_pending(self._turn)

    # The end.

    def _end_if_done(self) -> None:
        if not self._stopping or self._ended or self._turn is not None or self.working:
            return
        self._ended = True
        received = round(self._received_s * 1000 * SAMPLES_PER_MS)
        # Resampling rounds to whole samples, once for each flush.
        missing = max(0, received - self._history.end)
        received_ms, speech_ms = ms_of(received), ms_of(self._speech_samples)
        if self._departing:
            self._orders.add(Leave(received_ms, speech_ms, ms_of(missing)))
            return
        self._orders.send(
            Stopped(received_ms=received_ms, speech_ms=speech_ms, dropped_ms=ms_of(missing))
        )
        self._orders.add(End())

    def _forget(self) -> None:
        end = self._history.end
        pre_roll = self._endpointer.options.pre_roll_ms * SAMPLES_PER_MS
        needed = end - pre_roll - 32 * FRAME_SAMPLES
        if self._turn is not None:
            needed = min(needed, self._turn.start, end - _TURN_MODEL_SAMPLES)
        self._history.forget(needed)

    def _commands(self) -> list[Command]:
        self._end_if_done()
        return self._orders.taken()
