"""The final messages made of recognised segments."""

from services.asr.commands import JobCost
from services.asr.engines.base import Hypothesis, HypothesisWord
from services.asr.messages import Word
from services.asr.turns import ClosedSegment, FinalJob, final_of

HEARD = Hypothesis(
    text="yes indeed",
    language="en",
    confidence=0.9,
    words=(HypothesisWord("yes", 500, 620, 0.98765), HypothesisWord("indeed", 700, 1000, 0.5)),
)


def closed(hypothesis: Hypothesis = HEARD) -> ClosedSegment:
    """Recognised from 2 s on with 500 ms of pre-roll; the last voice was received at 100 s."""
    cost = JobCost(queue_ms=1.4, run_ms=250.6, batch_size=3)
    job = FinalJob(7, 32_000, 48_000, True, hypothesis, cost)
    return ClosedSegment(
        job, 40_000, 47_999, True, voiced_at=100.0, vad_wait_ms=224.4, turn_model_ms=12.6
    )


def test_what_was_recognised_is_what_is_said() -> None:
    final = final_of(closed(), word_timestamps=False, now=100.3)
    assert (final.text, final.language, final.confidence) == ("yes indeed", "en", 0.9)
    assert (final.start_ms, final.end_ms, final.turn_end) == (2500, 2999, True)
    assert final.words is None
    assert final.suppressed is None


def test_words_are_timed_from_the_session_s_first_sample() -> None:
    assert final_of(closed(), word_timestamps=True, now=100.3).words == (
        Word(word="yes", start_ms=2500, end_ms=2620, confidence=0.988),
        Word(word="indeed", start_ms=2700, end_ms=3000, confidence=0.5),
    )


def test_times_are_told_as_they_were_spent() -> None:
    timings = final_of(closed(), word_timestamps=False, now=100.3).timings
    assert (timings.vad_wait_ms, timings.queue_ms, timings.decode_ms) == (224, 1, 251)
    assert (timings.turn_model_ms, timings.total_ms, timings.batch_size) == (13, 300, 3)
    assert timings.speculative


def test_why_there_is_no_text_is_told() -> None:
    nothing = Hypothesis(text="", suppressed="engine_failed")
    final = final_of(closed(nothing), word_timestamps=True, now=100.3)
    assert (final.text, final.suppressed, final.words) == ("", "engine_failed", ())
