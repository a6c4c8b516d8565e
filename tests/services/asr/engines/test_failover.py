"""When a failed engine is tried again."""

from hypothesis import given
from hypothesis import strategies as st

from services.asr.engines.failover import Breaker


def test_one_failure_opens_it() -> None:
    breaker = Breaker(first_s=2, longest_s=16)
    assert breaker.admits(0)
    assert breaker.failed(0)
    assert breaker.open
    assert not breaker.admits(1.9)
    assert breaker.admits(2.0)


def test_one_trial_at_a_time_and_each_failure_doubles_the_pause() -> None:
    breaker = Breaker(first_s=2, longest_s=16)
    breaker.failed(0)
    now, pauses = 0.0, []
    for _ in range(5):
        pauses.append(breaker.pause_s)
        now += breaker.pause_s
        assert breaker.admits(now)
        assert not breaker.admits(now + 0.1)
        assert not breaker.failed(now + 0.2), "it was open already"
        now += 0.2
    assert pauses == [2, 4, 8, 16, 16]


def test_who_fails_along_changes_nothing() -> None:
    breaker = Breaker(first_s=2, longest_s=16)
    breaker.failed(0)
    for _ in range(10):
        assert not breaker.failed(0.5)
    assert breaker.pause_s == 2
    assert breaker.admits(2)


def test_an_answer_closes_it() -> None:
    breaker = Breaker(first_s=2, longest_s=16)
    breaker.failed(0)
    assert breaker.admits(2)
    assert breaker.succeeded()
    assert not breaker.succeeded()
    assert breaker.admits(2.1)
    assert breaker.admits(2.1)
    breaker.failed(3)
    assert breaker.pause_s == 2


def test_a_trial_that_comes_to_nothing_is_followed_by_another() -> None:
    """Its caller has hung up, say: nobody tells how it went."""
    breaker = Breaker(first_s=2, longest_s=16)
    breaker.failed(0)
    assert breaker.admits(2)
    assert not breaker.admits(3.9)
    assert breaker.admits(4)


def test_what_lasts_is_left_alone_for_long() -> None:
    breaker = Breaker(first_s=2, longest_s=16)
    breaker.failed(0, lasting=True)
    assert not breaker.admits(15.9)
    assert breaker.admits(16)


@given(st.lists(st.tuples(st.floats(0, 5), st.sampled_from(["fail", "succeed", "try"]))))
def test_it_is_never_closed_for_ever(steps: list[tuple[float, str]]) -> None:
    breaker, now = Breaker(first_s=1, longest_s=8), 0.0
    for pause, what in steps:
        now += pause
        if what == "fail":
            breaker.failed(now)
        elif what == "succeed":
            breaker.succeeded()
        else:
            breaker.admits(now)
        assert breaker.pause_s <= 8
    assert breaker.admits(now + 8)
