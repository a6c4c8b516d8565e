"""What is given up: in order, one step at a time, without flapping, and not for ever."""

from collections.abc import Callable, Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from services.asr.degradation import RISE_S, Degradation, Level, Limits

STEP_S = 0.1
LIMITS = Limits()


def levels(
    signal: Iterable[tuple[float, float]], degradation: Degradation | None = None, at: float = 0.0
) -> list[Level]:
    """The level after each of these (lateness, occupation), a tenth of a second apart."""
    degradation = degradation or Degradation(LIMITS)
    return [
        degradation.observe(late_s, occupied, at + index * STEP_S)
        for index, (late_s, occupied) in enumerate(signal)
    ]


def steady(seconds: float, late_s: float, occupied: float = 0.0) -> list[tuple[float, float]]:
    return [(late_s, occupied)] * round(seconds / STEP_S)


signals = st.lists(
    st.tuples(st.floats(0, 40), st.floats(0, 2), st.integers(1, 120)), max_size=30
).map(lambda runs: [(late, busy) for late, busy, times in runs for _ in range(times)])


@given(signals)
@settings(max_examples=60)
def test_it_goes_step_by_step_and_not_faster_than_it_may(
    signal: list[tuple[float, float]],
) -> None:
    went = [Level.NORMAL, *levels(signal)]
    changes = [
        (index, after - before)
        for index, (before, after) in enumerate(zip(went, went[1:], strict=False))
        if after is not before
    ]
    assert all(abs(by) == 1 for _, by in changes)
    previous = 0
    for index, by in changes:
        waited_s = (index - previous) * STEP_S
        assert waited_s >= (RISE_S if by > 0 else LIMITS.return_s) - STEP_S - 1e-6
        previous = index


@given(signals)
@settings(max_examples=60)
def test_whatever_was_it_gives_all_back_when_finals_are_punctual(
    signal: list[tuple[float, float]],
) -> None:
    calm = steady(3 * 16 * LIMITS.return_s + 2, 0.0)
    assert levels(signal + calm)[-1] is Level.NORMAL


@given(signals)
@settings(max_examples=60)
def test_whatever_was_it_refuses_when_finals_are_very_late(
    signal: list[tuple[float, float]],
) -> None:
    assert levels(signal + steady(3 * RISE_S + 0.5, 25.0))[-1] is Level.REFUSING


def test_punctual_finals_cost_nothing_however_busy_the_engine_is() -> None:
    assert set(levels(steady(60, 0.4, occupied=1.5))) == {Level.NORMAL}


def test_each_level_has_its_lateness() -> None:
    assert levels(steady(30, 0.6))[-1] is Level.SPARSE
    assert levels(steady(30, 1.2))[-1] is Level.FINALS_ONLY
    assert levels(steady(30, 2.1))[-1] is Level.REFUSING


def test_when_finals_alone_fill_the_engine_one_more_is_too_many() -> None:
    assert levels(steady(30, 1.2, occupied=0.89))[-1] is Level.FINALS_ONLY
    assert levels(steady(30, 1.2, occupied=0.91))[-1] is Level.REFUSING
    filling = Degradation(LIMITS)
    levels(steady(30, 1.2, occupied=0.91), filling)
    # Nobody new came in, so finals are punctual: it is the prediction that keeps the door closed.
    assert levels(steady(60, 0.0, occupied=0.8), filling, 30)[-1] is Level.REFUSING
    assert levels(steady(20, 0.0, occupied=0.6), filling, 90)[-1] is Level.NORMAL


def test_a_short_peak_is_none() -> None:
    assert set(levels((steady(0.4, 30.0) + steady(1, 0.0)) * 20)) == {Level.NORMAL}


def test_between_two_limits_it_stays() -> None:
    degradation = Degradation(LIMITS)
    assert levels(steady(10, 1.2), degradation)[-1] is Level.FINALS_ONLY
    assert set(levels(steady(300, 0.7), degradation, 10)) == {Level.FINALS_ONLY}


def changes(degradation: Degradation, seconds: float, late: Callable[[Level], float]) -> int:
    """How often the level changes when what is given up decides how late finals are."""
    count, at = 0, 0.0
    while at < seconds:
        before = degradation.level
        count += degradation.observe(late(before), 0.0, at) is not before
        at += STEP_S
    return count


def test_load_that_comes_back_with_the_partials_does_not_make_it_flap() -> None:
    def late(level: Level) -> float:
        return 0.1 if level >= Level.FINALS_ONLY else 1.5

    assert changes(Degradation(LIMITS), 600, late) <= 2 + 2 * (4 + 600 / 80)


def test_the_wait_before_a_retry_grows_with_the_trouble() -> None:
    degradation = Degradation(LIMITS)
    assert degradation.retry_after_s == 5
    levels((steady(2, 9.0) + steady(6, 0.0)) * 4, degradation)
    assert 10 <= degradation.retry_after_s <= 30
