"""How late answers are: not counting what they would take anyway."""

import pytest

from services.shared.runtime.lateness import WINDOW_S, Lateness


def settled(pace_s: float = 0.1) -> Lateness:
    """Twenty punctual answers, of one unit of cost each."""
    lateness = Lateness()
    for index in range(20):
        lateness.ran(pace_s, [(index - pace_s, 1.0)], float(index))
    return lateness


def test_nobody_waits_and_nothing_is_late() -> None:
    assert Lateness().late_s(5.0, []) == 0.0
    assert Lateness().occupied_s(5.0) == 0.0


@pytest.mark.parametrize("pace_s", [0.05, 3.0])
def test_a_slow_model_is_not_late(pace_s: float) -> None:
    assert settled(pace_s).late_s(19.0, [(19.0 - pace_s, 1.0)]) == pytest.approx(0.0, abs=1e-9)


def test_the_queue_is_late() -> None:
    lateness = settled()
    lateness.ran(0.1, [(28.0, 1.0)], 30.0)
    assert lateness.late_s(30.0, []) == pytest.approx(1.9)


def test_so_is_a_run_that_something_slows_down() -> None:
    lateness = settled()
    lateness.ran(2.1, [(27.9, 1.0)], 30.0)
    assert lateness.late_s(30.0, []) == pytest.approx(2.0)
    assert lateness.occupied_s(30.0) == pytest.approx(2.1)


def test_and_what_has_not_been_answered_yet() -> None:
    lateness = settled()
    assert lateness.late_s(30.0, [(29.0, 1.0), (5.0, 2.0)]) == pytest.approx(24.8)


def test_batch_mates_count_as_waiting() -> None:
    lateness = settled()
    lateness.ran(0.8, [(29.2, 1.0)] * 8, 30.0)
    assert lateness.late_s(30.0, []) == pytest.approx(0.7)


def test_starvation_does_not_become_the_rule() -> None:
    lateness = settled()
    for index in range(1000):
        now = 20 + 1.0 * index
        lateness.ran(1.0, [(now - 1.0, 1.0)], now)
    assert lateness.late_s(1019.0, []) == pytest.approx(0.9)


def test_one_quick_answer_does_not_make_all_others_late() -> None:
    lateness = settled()
    lateness.ran(0.001, [(29.0, 1.0)], 29.0)
    lateness.ran(0.1, [(35.9, 1.0)], 36.0)
    assert lateness.late_s(36.0, []) < 0.02


def test_the_past_is_forgotten() -> None:
    lateness = settled()
    lateness.ran(2.0, [(20.0, 1.0)], 30.0)
    assert lateness.occupied_s(30.0 + WINDOW_S - 0.5) == pytest.approx(0.5)
    assert lateness.occupied_s(30.0 + WINDOW_S + 0.1) == 0.0
    assert lateness.late_s(30.0 + WINDOW_S + 0.1, []) == 0.0
