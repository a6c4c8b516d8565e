import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.asr.engines.google_pace import Pace


def test_real_time_is_never_delayed() -> None:
    pace = Pace(rate=2.0, burst_s=1.0)
    assert all(pace.delay(0.1, 0.1 * step) == 0 for step in range(1000))


def test_a_burst_goes_at_once_and_the_rest_at_the_rate() -> None:
    pace = Pace(rate=2.0, burst_s=1.0)
    assert pace.delay(1.0, 0.0) == 0
    assert pace.delay(1.0, 0.0) == pytest.approx(0.5)


@given(st.lists(st.tuples(st.floats(0.01, 0.4), st.floats(0, 2)), min_size=1, max_size=60))
def test_no_more_than_burst_and_rate(pieces: list[tuple[float, float]]) -> None:
    """Whoever waits as told never exceeds it."""
    pace, now, sent = Pace(rate=3.0, burst_s=0.5), 0.0, 0.0
    for seconds, pause in pieces:
        now += pause
        now += pace.delay(seconds, now)
        sent += seconds
        assert sent <= 0.5 + 3.0 * now + 1e-6
