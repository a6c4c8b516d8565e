"""Which silence a client has not sent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.asr.arrival import Arrival

FRAME_S = 0.032


def missed(arrival: Arrival, now: float) -> int:
    """Frames that should have come."""
    count = 0
    while arrival.misses_frame(now):
        count += 1
    return count


def test_nothing_is_missed_before_anything_came() -> None:
    assert missed(Arrival(FRAME_S), 1000.0) == 0


def test_silence_is_counted_once_audio_is_late() -> None:
    arrival = Arrival(FRAME_S)
    arrival.heard(0.032, 10.0)
    assert missed(arrival, 10.25) == 0
    assert missed(arrival, 10.3) == 1
    assert missed(arrival, 10.3) == 0, "each frame once"
    assert missed(arrival, 11.25) == 30


def test_who_was_away_has_a_second_to_go_on() -> None:
    arrival = Arrival(FRAME_S)
    arrival.excuse(5.0)
    assert missed(arrival, 9.0) == 0, "nothing was missed before anything came"
    arrival.heard(0.032, 10.0)
    arrival.excuse(40.0)
    assert missed(arrival, 41.2) == 0
    assert 30 <= missed(arrival, 41.3) <= 40, "then it is silence since the return"
    arrival.heard(1.0, 41.4)
    assert missed(arrival, 42.4) == 0


def test_audio_sets_it_back() -> None:
    arrival = Arrival(FRAME_S)
    arrival.heard(0.032, 10.0)
    assert missed(arrival, 11.0) > 20
    arrival.heard(0.032, 11.0)
    assert missed(arrival, 11.25) == 0


@pytest.mark.parametrize("chunk_s", [0.02, 0.1, 0.5, 1.0])
def test_a_chunk_is_late_only_after_its_own_length(chunk_s: float) -> None:
    arrival = Arrival(FRAME_S)
    arrival.heard(chunk_s, 10.0)
    assert missed(arrival, 10.0 + chunk_s + 0.24) == 0
    assert missed(arrival, 10.0 + chunk_s + 0.29) > 0


def test_a_file_sent_at_once_is_not_waited_for_at_its_length() -> None:
    arrival = Arrival(FRAME_S)
    for _ in range(100):
        arrival.heard(0.5, 10.0)
    assert missed(arrival, 11.2) == 0
    assert missed(arrival, 11.3) > 0


@given(
    chunk_s=st.floats(0.005, 1.0),
    jitters=st.lists(st.floats(-0.1, 0.1), min_size=1, max_size=50),
    ticks=st.floats(0.01, 0.1),
)
def test_jitter_is_no_silence(chunk_s: float, jitters: list[float], ticks: float) -> None:
    """Chunks of one length, each up to 100 ms early or late, with the clock asked in between."""
    arrival, now = Arrival(FRAME_S), 0.0
    for number, jitter in enumerate(jitters, 1):
        comes = max(now, number * chunk_s + jitter)
        while now < comes and number > 1:
            assert missed(arrival, now) == 0
            now += ticks
        now = comes
        arrival.heard(chunk_s, now)
