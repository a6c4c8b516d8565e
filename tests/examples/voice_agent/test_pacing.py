"""Deadlines that do not drift, catching up without a burst, a guess that is put right."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.voice_agent.pacing import CATCH_UP, FrameClock, QueueClock

FRAME_S = 0.02


def sent_times(delays_s: list[float]) -> tuple[list[float], int]:
    """When frames leave when the sender is late by these, and how many were given up."""
    now, skipped, times = 0.0, 0, []
    clock = FrameClock(FRAME_S, now)
    for delay_s in delays_s:
        now = max(now, clock.next_at) + delay_s
        times.append(now)
        skipped += clock.sent(now)
    return times, skipped


def test_small_delays_do_not_add_up() -> None:
    times, skipped = sent_times([0.005] * 100)
    assert skipped == 0
    assert times[-1] == pytest.approx(99 * FRAME_S + 0.005)


def test_a_delay_is_caught_up_without_a_burst() -> None:
    times, skipped = sent_times([0.0, 0.1, *[0.0] * 40])
    gaps = [after - before for before, after in zip(times, times[1:], strict=False)]
    assert skipped == 0
    assert min(gaps) == pytest.approx(FRAME_S / CATCH_UP)
    assert times[-1] == pytest.approx(41 * FRAME_S)


def test_a_long_delay_moves_the_clock() -> None:
    times, skipped = sent_times([0.0, 1.0, *[0.0] * 20])
    assert skipped == pytest.approx(50, abs=1)
    assert times[-1] - times[1] == pytest.approx(20 * FRAME_S, abs=2 * FRAME_S)


@given(st.lists(st.floats(0, 0.5), min_size=1, max_size=60))
def test_frames_are_never_faster_than_the_limit(delays_s: list[float]) -> None:
    times, skipped = sent_times(delays_s)
    gaps = [after - before for before, after in zip(times, times[1:], strict=False)]
    assert all(gap >= FRAME_S / CATCH_UP - 1e-9 for gap in gaps)
    # Timestamps (frames sent and given up) never run ahead of the clock, nor far behind it.
    assert times[-1] / FRAME_S >= len(times) - 1 + skipped - 0.2 / FRAME_S - len(times) - 1
    assert (len(times) - 1 + skipped) * FRAME_S <= times[-1] + FRAME_S


def test_the_queue_empties_as_time_goes_by() -> None:
    clock = QueueClock(FRAME_S)
    clock.sent(10.0, 5)
    assert clock.lead_s(10.0) == pytest.approx(0.1)
    assert clock.lead_s(10.06) == pytest.approx(0.04)
    assert clock.lead_s(11.0) == 0
    clock.sent(11.0, 1)
    assert clock.lead_s(11.0) == pytest.approx(FRAME_S)


def test_a_pause_holds_the_queue() -> None:
    clock = QueueClock(FRAME_S)
    clock.sent(0.0, 10)
    clock.pause(0.05)
    assert clock.lead_s(5.0) == pytest.approx(0.15)
    clock.resume(5.0)
    assert clock.lead_s(5.1) == pytest.approx(0.05)


def test_a_flush_empties_it_also_in_a_pause() -> None:
    clock = QueueClock(FRAME_S)
    clock.sent(0.0, 10)
    clock.pause(0.0)
    clock.flush(0.01)
    assert clock.lead_s(0.01) == 0


def test_only_what_differs_much_is_put_right() -> None:
    clock = QueueClock(FRAME_S)
    clock.sent(0.0, 10)
    clock.observed(0.0, 12)
    assert clock.lead_s(0.0) == pytest.approx(0.2)
    clock.observed(0.0, 30)
    assert clock.lead_s(0.0) == pytest.approx(0.6)
