"""When a lost process is started again, and when it is given up: without any process."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.tts.config import IsolationConfig
from services.tts.engines.restarts import Restarts, State

POLICY = IsolationConfig(
    wait_s=5, max_restarts=3, window_s=60, backoff_s=0.5, max_backoff_s=1.0, piece_s=20
)


def ready(now: float = 0.0) -> Restarts:
    made = Restarts("fake", POLICY)
    made.ready(now)
    return made


def test_it_is_in_trouble_until_it_is_ready() -> None:
    restarts = Restarts("fake", POLICY)
    assert (restarts.state, restarts.trouble()) == (State.STARTING, "fake: being loaded")
    restarts.ready(3.0)
    assert (restarts.state, restarts.trouble()) == (State.READY, None)


def test_the_first_loss_is_repaired_at_once_and_says_why() -> None:
    restarts = ready()
    assert restarts.lost(10.0, "signal 9") == 0.0
    assert restarts.state is State.RESTARTING
    assert restarts.trouble() == "fake: its process is being restarted (signal 9)"
    restarts.ready(12.0)
    assert restarts.trouble() is None


def test_each_further_loss_waits_twice_as_long_up_to_a_bound() -> None:
    restarts = ready()
    assert [restarts.lost(at, "x") for at in (1.0, 2.0, 3.0)] == [0.0, 0.5, 1.0]


def test_one_loss_too_many_and_it_stays_down() -> None:
    restarts = ready()
    for at in (1.0, 2.0, 3.0):
        restarts.lost(at, "signal 11")
    assert restarts.lost(4.0, "signal 11") is None
    assert restarts.state is State.DOWN
    assert restarts.trouble() == (
        "fake: its process was lost 4 times within 60 s and stays down (signal 11)"
    )
    assert restarts.patience_s(4.0) == 0.0


def test_losses_of_long_ago_are_forgotten() -> None:
    restarts = ready()
    for minute in range(20):
        assert restarts.lost(minute * 61.0, "x") == 0.0
        restarts.ready(minute * 61.0 + 1)


def test_requests_wait_for_a_restart_from_the_loss_on_and_not_longer() -> None:
    restarts = ready()
    restarts.lost(10.0, "x")
    assert restarts.patience_s(10.0) == 5.0
    restarts.lost(13.0, "again, while it was restarted")
    assert restarts.patience_s(13.0) == 2.0, "since the first loss: nobody waits for ever"
    assert restarts.patience_s(16.0) == 0.0
    restarts.ready(17.0)
    restarts.lost(30.0, "x")
    assert restarts.patience_s(30.0) == 5.0


@pytest.mark.parametrize(("down", "told"), [(False, 2), (True, 60)])
def test_whoever_is_refused_is_told_when_to_come_back(down: bool, told: int) -> None:
    restarts = ready()
    for at in range(4 if down else 1):
        restarts.lost(float(at), "x")
    assert restarts.retry_after_s == told


@given(st.lists(st.floats(0.0, 100.0), min_size=1, max_size=40))
def test_never_more_starts_in_a_window_than_allowed(gaps: list[float]) -> None:
    restarts, now, begun = ready(), 0.0, list[float]()
    for gap in gaps:
        now += gap
        delay = restarts.lost(now, "x")
        if delay is None:
            break
        assert 0.0 <= delay <= POLICY.max_backoff_s
        begun.append(now)
        restarts.ready(now)
    window = POLICY.max_restarts
    for first, last in zip(begun, begun[window:], strict=False):
        assert last - first >= POLICY.window_s
    assert all(before <= after for before, after in pairwise(begun))
