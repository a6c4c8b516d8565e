"""Selection: every limit refuses what is beyond it and keeps what is on it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.training.selection import Limits, Utterance, select, why_not

GOOD = Utterance("a.flac", "xin chào", "xin chào quý khách", "Lan", 1.5)


def test_a_good_clip_is_kept() -> None:
    assert GOOD.rate == pytest.approx(10)
    assert why_not(GOOD, Limits()) == ""


@pytest.mark.parametrize(
    ("clip", "reason"),
    [
        (replace(GOOD, duration=0.49), "too_short"),
        (replace(GOOD, duration=15.01), "too_long"),
        (replace(GOOD, duration=4.0), "too_slow"),
        (replace(GOOD, duration=0.55), "too_fast"),
        (replace(GOOD, spoken="..."), "no_text"),
        (replace(GOOD, spoken="lúc 8 giờ sáng"), "unknown_characters"),
        (replace(GOOD, speaker="Minh"), "speaker"),
    ],
)
def test_what_is_left_out_has_a_reason(clip: Utterance, reason: str) -> None:
    limits = Limits(speakers=frozenset({"Lan"}))
    assert why_not(clip, limits) == reason


def test_limits_are_inclusive() -> None:
    limits = Limits(min_s=1.5, max_s=1.5, min_rate=10, max_rate=10)
    assert why_not(GOOD, limits) == ""


@given(st.lists(st.floats(0, 20)))
def test_every_clip_is_kept_or_left_out(durations: list[float]) -> None:
    clips = [replace(GOOD, duration=duration) for duration in durations]
    kept, left_out = select(clips, Limits())
    assert len(kept) + len(left_out) == len(clips)
    assert all(Limits().min_s <= clip.duration <= Limits().max_s for clip in kept)
    assert all(reason for _, reason in left_out)
