"""Turns out of voice probabilities, one frame of 32 ms at a time."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.asr.endpointing import Endpointer, EndpointingOptions, Event
from services.asr.messages import TurnMode, TurnOptions

SMART = EndpointingOptions()
SILENCE = EndpointingOptions(mode=TurnMode.SILENCE)
MANUAL = EndpointingOptions(mode=TurnMode.MANUAL)


def fed(endpointer: Endpointer, probabilities: Iterable[float]) -> list[tuple[int, Event]]:
    """Events with the number of the frame, from 1, at which they came."""
    return [
        (number, event)
        for number, probability in enumerate(probabilities, 1)
        for event in endpointer.feed(probability)
    ]


def speaking(options: EndpointingOptions = SMART) -> Endpointer:
    """An endpointer in a turn, fresh from voice."""
    endpointer = Endpointer(options)
    fed(endpointer, [1.0] * 10)
    assert endpointer.in_turn
    return endpointer


def paused(options: EndpointingOptions = SMART) -> Endpointer:
    """An endpointer in a turn after 96 ms of silence."""
    endpointer = speaking(options)
    fed(endpointer, [0.0] * 3)
    assert endpointer.paused
    return endpointer


# Beginnings.


def test_a_turn_begins_with_96_ms_of_voice() -> None:
    endpointer = Endpointer(SMART)
    assert fed(endpointer, [0.0, 1.0, 1.0, 1.0]) == [(4, Event.STARTED)]
    assert endpointer.voiced_run == 3, "where it began can be told"


@pytest.mark.parametrize("click", [[1.0], [1.0, 1.0], [1.0, 0.0, 1.0, 0.0, 1.0, 1.0]])
def test_clicks_begin_nothing(click: list[float]) -> None:
    endpointer = Endpointer(SMART)
    assert fed(endpointer, [*click, *[0.0] * 20]) == []
    assert not endpointer.in_turn


def test_breathing_begins_nothing_but_keeps_a_speaker_speaking() -> None:
    breathing = [0.4] * 100
    assert fed(Endpointer(SMART), breathing) == []
    assert fed(speaking(), breathing) == []


def test_breathing_does_not_resume_a_turn() -> None:
    assert Event.RESUMED not in [event for _, event in fed(paused(), [0.4] * 20)]


# Pauses.


def test_the_silence_of_a_smart_turn() -> None:
    """Frames end at 32, 64, … ms; the model is asked 40 ms before, to the nearest of them."""
    assert fed(speaking(), [0.0] * 63) == [
        (3, Event.PAUSED),  # 96 ms
        (5, Event.JUDGE),  # 200 ms
        (14, Event.JUDGE),  # 500 ms
        (30, Event.JUDGE),  # 1000 ms
        (63, Event.TIMED_OUT),  # 2000 ms
    ]


def test_the_silence_of_a_turn_by_silence() -> None:
    assert fed(speaking(SILENCE), [0.0] * 19) == [(3, Event.PAUSED), (19, Event.TIMED_OUT)]


def test_the_silence_of_a_manual_turn() -> None:
    assert fed(speaking(MANUAL), [0.0] * 10_000) == [(3, Event.PAUSED)]


def test_a_time_out_is_repeated_until_the_caller_ends_the_turn() -> None:
    """Whoever missed one (it was busy) gets another."""
    endpointer = speaking(SILENCE)
    assert [frame for frame, event in fed(endpointer, [0.0] * 21) if event is Event.TIMED_OUT] == [
        19,
        20,
        21,
    ]
    endpointer.end_turn()
    assert fed(endpointer, [0.0] * 100) == []


def test_a_time_out_comes_when_the_mark_for_the_model_does() -> None:
    both = EndpointingOptions(judge_ms=(320,), max_silence_ms=320)
    assert fed(speaking(both), [0.0] * 10)[-2:] == [(9, Event.JUDGE), (10, Event.TIMED_OUT)]


def test_two_voiced_frames_resume_a_turn() -> None:
    endpointer = paused(SILENCE)
    assert fed(endpointer, [1.0, 0.0, 1.0, 1.0]) == [(4, Event.RESUMED)]
    assert not endpointer.paused
    assert endpointer.silent_run == 0


def test_a_resumed_turn_is_judged_anew_at_its_next_pause() -> None:
    endpointer = paused()
    fed(endpointer, [0.0] * 6)  # past the first mark
    fed(endpointer, [1.0] * 2)
    assert fed(endpointer, [0.0] * 7) == [(3, Event.PAUSED), (5, Event.JUDGE)]


def test_a_click_in_a_pause_does_not_make_it_longer() -> None:
    with_click = [0.0] * 20 + [1.0] + [0.0] * 42
    assert fed(speaking(), with_click)[-1] == (63, Event.TIMED_OUT)


def test_short_gaps_between_words_are_no_pause() -> None:
    assert fed(speaking(), [0.0, 0.0, 1.0] * 30) == []


# Ends.


def test_voice_up_to_the_end_is_not_the_next_turn_s() -> None:
    endpointer = speaking()
    endpointer.end_turn()
    assert endpointer.voiced_run == 0
    assert fed(endpointer, [1.0, 1.0]) == []


def test_voice_after_the_last_pause_is_the_next_turn_s() -> None:
    endpointer = paused()
    fed(endpointer, [1.0])
    endpointer.end_turn()
    assert fed(endpointer, [1.0, 1.0]) == [(2, Event.STARTED)]
    assert endpointer.voiced_run == 3


# Options.


def test_a_client_overrides_what_it_names_only() -> None:
    asked = TurnOptions(mode=TurnMode.SILENCE, silence_ms=300)
    options = EndpointingOptions(threshold=0.7).overridden(asked)
    assert (options.mode, options.silence_ms) == (TurnMode.SILENCE, 300)
    assert (options.threshold, options.max_silence_ms) == (0.7, SMART.max_silence_ms)
    assert SMART.overridden(TurnOptions()) is SMART


@pytest.mark.parametrize(("options", "limit"), [(SMART, 2000), (SILENCE, 600), (MANUAL, None)])
def test_each_mode_has_its_limit(options: EndpointingOptions, limit: int | None) -> None:
    assert options.limit_ms == limit


# Any speech.

probabilities = st.lists(
    st.tuples(st.sampled_from([0.0, 0.2, 0.4, 0.6, 1.0]), st.integers(1, 30)), max_size=25
).map(lambda runs: [probability for probability, frames in runs for _ in range(frames)])


@given(probabilities=probabilities, mode=st.sampled_from(TurnMode))
def test_events_come_in_order(probabilities: list[float], mode: TurnMode) -> None:
    """STARTED, then PAUSED and RESUMED by turns, JUDGE and TIMED_OUT in a pause only."""
    endpointer = Endpointer(EndpointingOptions(mode=mode))
    in_turn = in_pause = False
    judged = 0
    for probability in probabilities:
        for event in endpointer.feed(probability):
            match event:
                case Event.STARTED:
                    assert not in_turn
                    in_turn = True
                case Event.PAUSED:
                    assert in_turn and not in_pause
                    in_pause, judged = True, 0
                case Event.RESUMED:
                    assert in_pause
                    in_pause = False
                case Event.JUDGE:
                    assert in_pause and mode is TurnMode.SMART
                    judged += 1
                    assert judged <= len(SMART.judge_ms)
                case Event.TIMED_OUT:
                    assert in_pause and mode is not TurnMode.MANUAL
                    endpointer.end_turn()
                    in_turn = in_pause = False
        assert (endpointer.in_turn, endpointer.paused) == (in_turn, in_pause)


@given(probabilities=probabilities, mode=st.sampled_from([TurnMode.SMART, TurnMode.SILENCE]))
def test_silence_ends_every_turn(probabilities: list[float], mode: TurnMode) -> None:
    endpointer = Endpointer(EndpointingOptions(mode=mode))
    fed(endpointer, probabilities)
    if endpointer.in_turn:
        assert Event.TIMED_OUT in [event for _, event in fed(endpointer, [0.0] * 63)]
