from services.asr.commands import JobCost
from services.asr.degradation import Level
from services.asr.partials import PartialPace
from services.asr.session_options import SessionOptions
from services.asr.turns import SAMPLES_PER_MS, Turn

OPTIONS = SessionOptions(partial_every_ms=250, partial_slowest_ms=1500, partial_after_ms=400)


def said(ms: int, *, shown_ms: int = 0) -> tuple[Turn, int]:
    """A turn with so much speech, of which partials have shown so much."""
    end = ms * SAMPLES_PER_MS
    return Turn(0, 0, 0, end, 0.0, partial_end=shown_ms * SAMPLES_PER_MS), end


def due(pace: PartialPace, ms: int, *, shown_ms: int = 0, paused: bool = False) -> bool:
    turn, end = said(ms, shown_ms=shown_ms)
    return pace.due(turn, end, paused=paused)


def test_the_first_comes_after_enough_speech() -> None:
    pace = PartialPace(OPTIONS)
    assert not due(pace, 399)
    assert due(pace, 400)


def test_the_next_comes_with_enough_new_speech_or_at_a_pause() -> None:
    pace = PartialPace(OPTIONS)
    assert not due(pace, 1249, shown_ms=1000)
    assert due(pace, 1250, shown_ms=1000)
    assert due(pace, 1032, shown_ms=1000, paused=True)
    assert not due(pace, 1000, shown_ms=1000, paused=True)


def test_a_slow_engine_is_asked_more_rarely_but_never_too_rarely() -> None:
    pace = PartialPace(OPTIONS)
    pace.learn(JobCost(queue_ms=100, run_ms=300))
    assert not due(pace, 1799, shown_ms=1000)
    assert due(pace, 1800, shown_ms=1000)
    pace.learn(JobCost(run_ms=10_000))
    assert not due(pace, 2499, shown_ms=1000)
    assert due(pace, 2500, shown_ms=1000)


def test_the_first_is_not_put_off_by_anything_but_their_end() -> None:
    pace = PartialPace(OPTIONS)
    pace.learn(JobCost(run_ms=10_000))
    pace.level = Level.SPARSE
    assert due(pace, 400)
    pace.level = Level.FINALS_ONLY
    assert not due(pace, 400)


def test_sparse_is_the_slowest_pace_and_pauses_do_not_hurry_it() -> None:
    pace = PartialPace(OPTIONS)
    pace.level = Level.SPARSE
    assert not due(pace, 2000, shown_ms=1000, paused=True)
    assert due(pace, 2500, shown_ms=1000)
