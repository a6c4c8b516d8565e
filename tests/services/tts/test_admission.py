"""Admission: what a newcomer would wait, from what is queued and what it costs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.shared.protocol.base import ErrorCode, ProtocolError
from services.tts.admission import Admission, Average, Demand, EngineLoad

NOW = 1000.0
FIRST_S, RTF = 0.06, 0.05


def load(lanes: int = 1, first_s: float = FIRST_S, rtf: float = RTF) -> EngineLoad:
    made = EngineLoad(lanes)
    made.cost.learn(first=True, run_s=first_s, audio_s=0.4)
    made.cost.learn(first=False, run_s=rtf, audio_s=1.0)
    return made


def listener(ahead_s: float, remaining_s: float = 10.0) -> Demand:
    return Demand(NOW + ahead_s, remaining_s, begun=True)


def newcomer() -> Demand:
    return Demand(NOW, 10.0)


def test_the_average_forgets() -> None:
    average = Average()
    assert average.value == 0.0
    average.add(10.0)
    assert average.value == 10.0
    for _ in range(40):
        average.add(20.0)
    assert average.value == pytest.approx(20.0, abs=0.2)


def test_an_idle_engine_takes_what_a_first_piece_takes() -> None:
    assert load().first_audio_s(NOW) == pytest.approx(FIRST_S)


def test_first_pieces_that_wait_come_before_ours() -> None:
    busy = load()
    for _ in range(10):
        busy.open(newcomer())
    assert busy.first_audio_s(NOW) == pytest.approx(11 * FIRST_S, abs=0.1)


def test_listeners_with_enough_to_hear_do_not_matter() -> None:
    busy = load()
    for _ in range(15):
        busy.open(listener(ahead_s=30.0))
    assert busy.first_audio_s(NOW) < 2 * FIRST_S


def test_listeners_who_use_the_engine_up_leave_no_room() -> None:
    busy = load(rtf=0.12)
    for _ in range(7):
        busy.open(listener(ahead_s=0.4))
    assert busy.first_audio_s(NOW) < 0.5
    for _ in range(7):
        busy.open(listener(ahead_s=0.4))
    assert busy.first_audio_s(NOW) > 1.5


def test_listeners_at_their_end_leave_room() -> None:
    busy = load(rtf=0.12)
    for _ in range(14):
        busy.open(listener(ahead_s=0.4, remaining_s=0.2))
    assert busy.first_audio_s(NOW) < 0.6


def test_those_just_let_in_count_until_they_speak_or_do_not() -> None:
    busy = load()
    for number in range(10):
        busy.expect(str(number), NOW)
        busy.expect(str(number), NOW)
    assert not busy.idle
    assert busy.first_audio_s(NOW) > 10 * FIRST_S
    busy.open(newcomer())
    busy.forget("0")
    assert busy.first_audio_s(NOW) > 10 * FIRST_S, "one of them came"
    assert busy.first_audio_s(NOW + 5) < 0.5, "the others did not"


def test_a_stream_that_is_closed_counts_no_more() -> None:
    busy = load()
    streams = [newcomer() for _ in range(10)]
    for stream in streams:
        busy.open(stream)
    for stream in streams:
        busy.close(stream)
        busy.close(stream)
    assert busy.first_audio_s(NOW) == pytest.approx(FIRST_S)


demands = st.lists(
    st.builds(
        Demand,
        st.floats(NOW - 2, NOW + 20),
        st.floats(0, 60),
        st.booleans(),
    ),
    max_size=30,
)


@given(demands, st.integers(1, 4))
def test_more_to_do_never_looks_better_and_more_lanes_never_worse(
    streams: list[Demand], lanes: int
) -> None:
    busy, wider = load(lanes), load(lanes + 1)
    before = busy.first_audio_s(NOW)
    assert before >= FIRST_S
    for stream in streams:
        busy.open(stream)
        wider.open(stream)
        now = busy.first_audio_s(NOW)
        assert now >= before - 1e-9
        before = now
    if before < 1.0:  # one piece more may be running
        assert wider.first_audio_s(NOW) <= before + FIRST_S


def test_who_would_wait_too_long_is_told_when_to_come_back() -> None:
    busy = load()
    admission = Admission(limit_s=1.0, context_limit_s=3.0)
    for _ in range(30):
        busy.open(newcomer())
    with pytest.raises(ProtocolError, match=r"about 60060 ms, and 1000 are permitted") as caught:
        admission.check([busy], NOW)
    assert caught.value.code is ErrorCode.OVERLOADED
    assert caught.value.retry_after_s == 30
    Admission(1.0, context_limit_s=99.0).check_context(busy, "session", NOW)
    with pytest.raises(ProtocolError):
        admission.check_context(busy, "session", NOW)


def test_one_engine_with_room_is_enough() -> None:
    busy, free = load(), load()
    for _ in range(30):
        busy.open(newcomer())
    Admission(1.0, 1.0).check([busy, free], NOW)


def test_admission_can_be_switched_off() -> None:
    busy = load()
    for _ in range(300):
        busy.open(newcomer())
    Admission(None, None).check([busy], NOW)
    Admission(None, None).check_context(busy, "session", NOW)


def test_an_idle_engine_that_is_too_slow_works_rather_than_refusing() -> None:
    Admission(1.0, 1.0).check([load(first_s=5.0)], NOW)
