"""A listener who plays in real time runs dry exactly when nothing is left."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.bench.tts_playback import Player, Underrun


def test_audio_in_time_leaves_no_hole() -> None:
    player = Player()
    player.push(10.0, 0.5)
    player.push(10.5, 0.5)
    player.push(10.6, 1.0)
    assert player.underruns == []
    assert (player.began_s, player.until_s, player.heard_s) == (10.0, 12.0, 2.0)


def test_late_audio_leaves_a_hole_and_moves_the_rest() -> None:
    player = Player()
    player.push(10.0, 0.5)
    player.push(10.75, 0.5)
    player.push(11.0, 0.5)
    assert player.underruns == [Underrun(10.5, 0.25)]
    assert player.until_s == 11.75


arrivals = st.lists(st.tuples(st.floats(0, 2), st.floats(0.01, 2)), min_size=1, max_size=30)


@given(arrivals)
def test_playing_takes_as_long_as_sound_and_holes_together(
    steps: list[tuple[float, float]],
) -> None:
    player, at = Player(), 100.0
    for wait, seconds in steps:
        at += wait
        player.push(at, seconds)
    assert player.began_s is not None
    holes = sum(hole.gap_s for hole in player.underruns)
    assert player.until_s - player.began_s == pytest.approx(player.heard_s + holes)
    assert player.until_s >= at
