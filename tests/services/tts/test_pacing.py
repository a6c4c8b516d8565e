"""Pacing by a virtual clock: bounded lead, no drift, catching up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.tts.pacing import FRAME_S, Pacer, PlaybackClock

RATES = (8000, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000)
LEAD_S = 0.2


class Line:
    """A sender and its listener, who starts playing with the first sample."""

    def __init__(self, rate: int = 8000, lead_s: float = LEAD_S, start: float = 1000.0) -> None:
        self.pacer, self.rate, self.lead_s = Pacer(), rate, lead_s
        self.now = start
        self.sends: list[tuple[float, int]] = []

    def send_due(self, available: int = 1 << 40) -> int:
        count = min(available, self.pacer.room(self.now, self.rate, self.lead_s))
        if count:
            self.pacer.sent(count, self.rate, self.now)
            self.sends.append((self.now, count))
        return count

    @property
    def sent_s(self) -> float:
        return sum(count for _, count in self.sends) / self.rate


@pytest.mark.parametrize("rate", RATES)
def test_ten_minutes_do_not_drift(rate: int) -> None:
    line = Line(rate)
    begun = line.now
    while line.now < begun + 600:
        assert line.send_due() > 0, "woken when there is room, not before"
        line.now = max(line.now, line.pacer.next_at(LEAD_S))
    assert line.sent_s == pytest.approx(600 + LEAD_S, abs=1.5 * FRAME_S)
    assert len(line.sends) == pytest.approx(600 / FRAME_S, rel=0.01)


def test_the_first_frames_fill_the_lead_and_then_one_goes_every_20_ms() -> None:
    line = Line()
    assert line.send_due() == 1600
    assert line.send_due() == 0
    for number in range(1, 20):
        line.now = line.pacer.next_at(LEAD_S)
        assert line.now == pytest.approx(1000 + number * FRAME_S)
        assert line.send_due() == 160


def test_a_short_stall_is_caught_up_at_once() -> None:
    line = Line()
    line.send_due()
    line.now += 0.15
    assert line.send_due() == round(0.14 * 8000)


def test_after_an_underrun_the_lead_is_filled_and_nothing_more() -> None:
    line = Line()
    line.send_due()
    line.now += 7.0
    assert line.send_due() == 1600
    assert line.send_due() == 0


def test_a_cancel_frees_the_line() -> None:
    line = Line()
    line.send_due()
    line.pacer.stopped(line.now)
    assert line.pacer.room(line.now, 8000, LEAD_S) == 1600


@given(
    st.lists(st.tuples(st.floats(0, 0.5), st.integers(0, 20_000)), max_size=60),
    st.sampled_from(RATES),
    st.floats(FRAME_S, 2.0),
)
def test_the_lead_is_never_exceeded(
    steps: list[tuple[float, int]], rate: int, lead_s: float
) -> None:
    line = Line(rate, lead_s)
    until = line.now
    for wait, available in steps:
        line.now += wait
        count = line.send_due(available)
        assert count % round(FRAME_S * rate) == 0 or count == available
        if count:
            until = max(until, line.now) + count / rate
        assert until - line.now <= lead_s + 1e-3  # frames are whole samples
        if available >= lead_s * rate and until - line.now < lead_s - 2 * FRAME_S:
            raise AssertionError("audio waits though there is room")


def test_the_clock_tells_when_the_listener_runs_dry() -> None:
    clock = PlaybackClock()
    assert not clock.playing(5.0)
    clock.sent(10.0, now=100.0)
    clock.sent(5.0, now=101.0)
    assert clock.until == 115.0
    assert clock.playing(114.9)
    clock.stopped(now=103.0)
    assert clock.until == 103.0
    clock.stopped(now=110.0)
    assert clock.until == 103.0, "what is over cannot be stopped later"


def test_a_listener_that_does_not_read_is_not_running_dry() -> None:
    clock = PlaybackClock()
    clock.sent(1.0, now=100.0)
    clock.delayed(3.0, now=103.0)
    assert clock.until == 104.0
    clock.delayed(1.0, now=200.0)
    assert clock.until == 104.0, "it had heard all long before"
