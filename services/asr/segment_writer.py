"""Has a session's segments recognised: partials while they are spoken, a final at their ends.

Sans-I/O, like the session whose part it is. A segment has at most one partial job under way; its
final may be begun early, at a pause, and is used if nothing more is said. Finals leave in order.
"""

from collections import deque

import numpy as np

from services.asr.agreement import Agreement
from services.asr.commands import Decode, JobCost, Listen, Orders
from services.asr.degradation import Level
from services.asr.engines.base import DecodeRequest, Hypothesis
from services.asr.history import AudioHistory
from services.asr.messages import Partial, Start, TurnPending
from services.asr.partials import PartialPace
from services.asr.session_options import SessionOptions
from services.asr.turns import ClosedSegment, FinalJob, Turn, final_of, ms_of
from services.asr.vad.base import Floats

_SENTENCE_ENDS = (".", "?", "!", "。", "？", "！", "…")
_NOTHING: Floats = np.zeros(0, dtype=np.float32)


class SegmentWriter:
    """Asks for decodes and makes messages of their answers.

    Args:
        history: the session's audio; read only.
        orders: where commands go.
    """

    def __init__(self, options: SessionOptions, history: AudioHistory, orders: Orders) -> None:
        self.start = Start()
        """What the client asked for."""
        self._options = options
        self._history = history
        self._orders = orders
        self._pace = PartialPace(options)
        self._closed: deque[ClosedSegment] = deque()

    @property
    def owed(self) -> int:
        """Finals of closed segments that have not left."""
        return len(self._closed)

    def listen(self, turn: Turn) -> None:
        """Tell a recogniser that listens along of the turn's current segment, once."""
        if not turn.listening:
            turn.listening = True
            self._orders.add(Listen(turn.start, self._request(turn, _NOTHING, final=True)))

    # Partials.

    def economise(self, level: Level, turn: Turn | None) -> None:
        """The service is so much overloaded: save what the level says."""
        if level >= Level.FINALS_ONLY > self._pace.level and turn is not None:
            self.drop_partial(turn)
        self._pace.level = level

    def want_partial(self, turn: Turn, *, paused: bool) -> None:
        """Begin the next partial when there is new speech and nothing better is under way."""
        if not self.start.partials or turn.partial_job is not None:
            return
        if self._closed or turn.final_job is not None:
            return
        end = self._history.end
        if self._pace.due(turn, end, paused=paused):
            turn.partial_job = self._orders.next_job()
            turn.partial_end = end
            self._decode(turn.partial_job, turn, end, final=False)

    def take_partial(self, turn: Turn, hypothesis: Hypothesis, cost: JobCost) -> None:
        """The partial job's answer."""
        turn.partial_job = None
        self._pace.learn(cost)
        before = (turn.agreement.text, turn.agreement.stable)
        self._agree(turn, hypothesis, turn.partial_end)
        after = (turn.agreement.text, turn.agreement.stable)
        if after == before or not turn.agreement.text:
            return
        self._orders.send(
            Partial(
                text=turn.agreement.text,
                stable_text=turn.agreement.stable,
                start_ms=ms_of(turn.speech_start),
                end_ms=ms_of(turn.partial_end),
            )
        )

    def drop_partial(self, turn: Turn) -> None:
        self._orders.cancel(turn.partial_job)
        turn.partial_job = None

    def _agree(self, turn: Turn, hypothesis: Hypothesis, end: int) -> None:
        """Compare with the hypothesis before; very short or unsure ones promise nothing."""
        if hypothesis.stable is not None:
            turn.agreement.promise(hypothesis.text, hypothesis.stable, end)
            return
        settled = ms_of(end - turn.speech_start) >= self._options.settle_ms
        sure = hypothesis.confidence is None or hypothesis.confidence >= self._options.trust
        turn.agreement.update(hypothesis.text, end, trusted=settled and sure)

    # Finals begun early.

    def speculate(self, turn: Turn) -> None:
        """Begin the final at a pause, in case nothing more is said."""
        self.drop_partial(turn)
        turn.final_job = self.begin_final(turn, self._history.end, speculative=True)

    def take_speculation(self, turn: Turn, hypothesis: Hypothesis, cost: JobCost) -> None:
        """The early final's answer."""
        job = turn.final_job
        assert job is not None
        job.hypothesis, job.cost = hypothesis, cost
        self._agree(turn, hypothesis, job.end)
        self.tell_pending(turn)

    def tell_pending(self, turn: Turn) -> None:
        """Announce the final that will come if nothing more is said, but after those before it."""
        if turn.final_job is None or turn.pending_told or self._closed:
            return
        hypothesis = turn.final_job.hypothesis
        if hypothesis is not None and hypothesis.text:
            turn.pending_told = True
            self._orders.send(TurnPending(text=hypothesis.text))

    def resume(self, turn: Turn, now: float) -> None:
        """Something more is said: the early final closes its segment, or is given up."""
        job, turn.final_job = turn.final_job, None
        if job is not None and self._worth_closing(job):
            self.close(turn, job, turn_end=False, now=now)
        elif job is not None and job.hypothesis is None:
            self._orders.cancel(job.job_id)

    def _worth_closing(self, job: FinalJob) -> bool:
        """A segment ends at a pause when it is long, or when a sentence of some length ends there.

        Short segments are cheap to decode, and Whisper hears better what it hears in one piece.
        """
        # The pause counts: it would be part of the segment.
        length_ms = ms_of(self._history.end - job.start)
        if job.hypothesis is None or not job.hypothesis.text.endswith(_SENTENCE_ENDS):
            return length_ms >= self._options.commit_ms
        return length_ms >= self._options.commit_sentence_ms

    # Finals.

    def begin_final(self, turn: Turn, end: int, *, speculative: bool = False) -> FinalJob:
        """Have the current segment decoded up to the sample `end`."""
        job = FinalJob(self._orders.next_job(), turn.start, end, speculative)
        self._decode(job.job_id, turn, end, final=True)
        return job

    def close_turn(self, turn: Turn, now: float) -> None:
        """Close the last segment of a turn."""
        job = turn.final_job
        if job is None:
            spoken = turn.speech_end > turn.start
            end = self._history.end
            job = self.begin_final(turn, end) if spoken else self._empty_final(turn.start)
        self.close(turn, job, turn_end=True, now=now)

    def close(self, turn: Turn, job: FinalJob, *, turn_end: bool, now: float) -> None:
        """The segment ends where the job's audio does; the turn's next one begins there."""
        self.drop_partial(turn)
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
        turn.start = turn.speech_start = turn.partial_end = job.end
        turn.agreement = Agreement()
        turn.listening = False
        turn.final_job = None
        self._emit_finals(now)

    def answer_silence(self, now: float) -> None:
        """An empty final, in its turn behind those that are still being decoded."""
        end = self._history.end
        self._closed.append(ClosedSegment(self._empty_final(end), end, end, True, now, 0.0, 0.0))
        self._emit_finals(now)

    def take_final(self, job_id: int, hypothesis: Hypothesis, cost: JobCost, now: float) -> None:
        """The answer for a closed segment."""
        for closed in self._closed:
            if closed.job.job_id == job_id:
                closed.job.hypothesis, closed.job.cost = hypothesis, cost
        self._emit_finals(now)

    def _emit_finals(self, now: float) -> None:
        words = self.start.word_timestamps
        while self._closed and self._closed[0].job.hypothesis is not None:
            closed = self._closed.popleft()
            self._orders.send(final_of(closed, word_timestamps=words, now=now))

    def _empty_final(self, at: int) -> FinalJob:
        """Nothing was said since the last one: no model is needed to know that."""
        nothing = Hypothesis(text="")
        return FinalJob(self._orders.next_job(), at, at, False, nothing, JobCost(batch_size=0))

    def _decode(self, job_id: int, turn: Turn, end: int, *, final: bool) -> None:
        audio = self._history.slice(turn.start, end)
        self._orders.add(Decode(job_id, self._request(turn, audio, final=final), turn.start))

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
