"""When a session goes: never in the middle of something before it must, and always in the end."""

from hypothesis import given
from hypothesis import strategies as st

from services.asr.departure import Departure

STEP_S = 0.05


def gone_at(states: list[tuple[bool, bool]], closing_at: float, earliest: float) -> float | None:
    """When it goes, asked every STEP_S of these (resting, speaking)."""
    departure = Departure(earliest)
    for step, (resting, speaking) in enumerate(states):
        now = step * STEP_S
        if departure.due(
            resting=resting, speaking=speaking and not resting, closing=now >= closing_at, now=now
        ):
            return now
    return None


states = st.lists(
    st.tuples(st.booleans(), st.booleans(), st.integers(1, 40)), min_size=1, max_size=20
).map(lambda runs: [(rest, speak) for rest, speak, times in runs for _ in range(times)])


@given(states, st.floats(0, 20), st.floats(0, 2))
def test_it_goes_in_rest_before_the_drain_is_over_and_soon_after_it(
    states: list[tuple[bool, bool]], closing_at: float, earliest: float
) -> None:
    at = gone_at(states, closing_at, earliest)
    length_s = len(states) * STEP_S
    if at is None:
        assert length_s <= closing_at + 2.0 + 2 * STEP_S
    elif at < closing_at:
        rested = states[round(at / STEP_S) - 10 : round(at / STEP_S) + 1]
        assert len(rested) == 11
        assert all(resting for resting, _ in rested)
        assert at >= earliest
    else:
        resting, speaking = states[round(at / STEP_S)]
        assert resting or not speaking or at >= closing_at + 2.0 - STEP_S


def test_a_short_rest_is_none() -> None:
    breath = [(False, True)] * 20 + [(True, False)] * 8
    assert gone_at(breath * 5, closing_at=100.0, earliest=0.0) is None
    assert gone_at([(True, False)] * 20, closing_at=100.0, earliest=0.0) == 0.5


def test_a_speaker_who_does_not_pause_is_cut_off_two_seconds_after_the_drain() -> None:
    assert gone_at([(False, True)] * 100, closing_at=1.0, earliest=0.0) == 3.0
    pausing = [(False, True)] * 40 + [(False, False)] * 60
    assert gone_at(pausing, closing_at=1.0, earliest=0.0) == 2.0
