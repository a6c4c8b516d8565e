"""Where the playback is, by the clock and by marks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.voice_agent.playback import Playback


def test_what_was_sent_is_heard_at_the_pace_of_the_clock() -> None:
    playback = Playback()
    playback.sent(10.0, 1, 1000)
    assert playback.heard_ms(10.4, 1) == pytest.approx(400)
    assert playback.remaining_ms(10.4) == pytest.approx(600)
    assert playback.remaining_ms(12.0) == 0
    assert playback.dry_at == pytest.approx(11.0)


def test_after_a_gap_the_clock_begins_with_the_next_audio() -> None:
    playback = Playback()
    playback.sent(0.0, 1, 100)
    playback.sent(5.0, 1, 100)
    assert playback.heard_ms(5.05, 1) == pytest.approx(150)


def test_a_pause_stops_it_and_a_resume_goes_on_there() -> None:
    playback = Playback()
    playback.sent(0.0, 1, 1000)
    playback.pause(0.3)
    assert playback.heard_ms(0.9, 1) == pytest.approx(300)
    playback.resume(1.0)
    assert playback.heard_ms(1.1, 1) == pytest.approx(400)


def test_a_mark_puts_the_clock_right_in_both_directions() -> None:
    playback = Playback()
    playback.sent(0.0, 1, 1000)
    playback.marked(0.5, 1, 400)
    assert playback.heard_ms(0.6, 1) == pytest.approx(500)
    playback.marked(0.6, 1, 700)
    assert playback.heard_ms(0.7, 1) == pytest.approx(800)


def test_an_utterance_between_two_halves_of_another_is_not_counted_for_it() -> None:
    playback = Playback()
    playback.sent(0.0, 1, 200)
    playback.sent(0.0, 2, 300)
    playback.sent(0.0, 1, 200)
    assert playback.heard_ms(0.4, 1) == pytest.approx(200)
    assert playback.heard_ms(0.6, 1) == pytest.approx(300)
    assert playback.heard_ms(0.6, 2) == pytest.approx(300)


def test_what_is_flushed_is_never_heard() -> None:
    playback = Playback()
    playback.sent(0.0, 1, 1000)
    playback.flush(0.5)
    assert playback.remaining_ms(0.5) == 0
    playback.sent(1.0, 2, 100)
    assert playback.heard_ms(2.0, 2) == pytest.approx(100)


@given(
    st.lists(st.tuples(st.sampled_from("spruf"), st.floats(0, 2), st.integers(1, 3)), max_size=40)
)
def test_nothing_is_heard_that_was_not_sent(steps: list[tuple[str, float, int]]) -> None:
    playback = Playback()
    now, sent = 0.0, dict.fromkeys((1, 2, 3), 0.0)
    for what, passed, utterance in steps:
        now += passed
        match what:
            case "s":
                playback.sent(now, utterance, 500)
                sent[utterance] += 500
            case "p":
                playback.pause(now)
            case "r":
                playback.resume(now)
            case "f":
                playback.flush(now)
                sent = dict.fromkeys(sent, 0.0)
        assert playback.remaining_ms(now) >= 0
        for each, ms in sent.items():
            assert playback.heard_ms(now, each) <= ms + 1e-6
