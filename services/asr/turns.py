"""What a session remembers of turns and their segments, and the final messages made of it. Pure."""

from dataclasses import dataclass, field

from services.asr.agreement import Agreement
from services.asr.commands import JobCost
from services.asr.engines.base import Hypothesis
from services.asr.messages import Final, Timings, Word

SAMPLES_PER_MS = 16
"""At 16 kHz."""


@dataclass(slots=True)
class FinalJob:
    """The decode of one segment, begun early or at its end."""

    job_id: int
    start: int
    end: int
    speculative: bool
    hypothesis: Hypothesis | None = None
    cost: JobCost = JobCost()


@dataclass(slots=True)
class ClosedSegment:
    """A segment that awaits its final; finals leave in order."""

    job: FinalJob
    start: int
    end: int
    turn_end: bool
    voiced_at: float
    vad_wait_ms: float
    turn_model_ms: float


@dataclass(slots=True)
class Turn:
    """What is being said now."""

    began: int
    """First sample of the turn, pre-roll included."""
    start: int
    """First sample of the current segment: `began`, or where the segment before it was cut."""
    speech_start: int
    """First voiced sample of the current segment."""
    speech_end: int
    """One past the last voiced sample."""
    voiced_at: float
    """Wall clock when the last voiced frame was heard."""
    agreement: Agreement = field(default_factory=Agreement)
    partial_job: int | None = None
    partial_end: int = 0
    final_job: FinalJob | None = None
    judge_job: int | None = None
    done: bool = False
    """The turn model says so of the present pause."""
    turn_model_ms: float = 0.0
    pending_told: bool = False
    listening: bool = False
    """The recogniser knows of the current segment."""


def ms_of(samples: int) -> int:
    """Whole milliseconds."""
    return samples // SAMPLES_PER_MS


def final_of(closed: ClosedSegment, *, word_timestamps: bool, now: float) -> Final:
    """The message that a recognised segment becomes; `now` is when it is sent."""
    hypothesis = closed.job.hypothesis
    assert hypothesis is not None, "not recognised yet"
    return Final(
        text=hypothesis.text,
        start_ms=ms_of(closed.start),
        end_ms=ms_of(closed.end),
        turn_end=closed.turn_end,
        language=hypothesis.language,
        confidence=hypothesis.confidence,
        words=_words(hypothesis, closed.job.start) if word_timestamps else None,
        suppressed=hypothesis.suppressed,
        engine=hypothesis.engine,
        timings=_timings(closed, now),
    )


def _timings(closed: ClosedSegment, now: float) -> Timings:
    cost = closed.job.cost
    return Timings(
        vad_wait_ms=round(closed.vad_wait_ms),
        queue_ms=round(cost.queue_ms),
        batch_size=cost.batch_size,
        decode_ms=round(cost.run_ms),
        turn_model_ms=round(closed.turn_model_ms),
        total_ms=round((now - closed.voiced_at) * 1000),
        speculative=closed.job.speculative,
    )


def _words(hypothesis: Hypothesis, start: int) -> tuple[Word, ...]:
    offset = ms_of(start)
    return tuple(
        Word(
            word=word.word,
            start_ms=offset + word.start_ms,
            end_ms=offset + word.end_ms,
            confidence=round(word.confidence, 3),
        )
        for word in hypothesis.words
    )
