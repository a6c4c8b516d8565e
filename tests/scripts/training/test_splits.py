"""Splits: nobody in two parts, nothing lost, the same on every machine."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.training.selection import Utterance
from scripts.training.splits import By, CannotSplit, Shares, split

SHARES = Shares(0.1, 0.1)


def _clips(speakers: list[str], durations: list[float]) -> list[Utterance]:
    return [
        Utterance(f"{number}.flac", "a", "a", speaker, duration)
        for number, (speaker, duration) in enumerate(zip(speakers, durations, strict=True))
    ]


clips = st.lists(
    st.tuples(st.sampled_from("ABCDEFGHIJ"), st.floats(0.5, 15)), min_size=3, max_size=80
).map(lambda pairs: _clips([who for who, _ in pairs], [long for _, long in pairs]))
seeds = st.integers(0, 9)


@given(clips, seeds)
def test_nobody_is_heard_in_two_parts_and_nothing_is_lost(
    all_of_them: list[Utterance], seed: int
) -> None:
    if len({clip.speaker for clip in all_of_them}) < 3:
        with pytest.raises(CannotSplit, match="by clips instead"):
            split(all_of_them, "speakers", SHARES, seed)
        return
    parts = split(all_of_them, "speakers", SHARES, seed).parts()
    for one, other in combinations(parts.values(), 2):
        assert not {clip.speaker for clip in one} & {clip.speaker for clip in other}
    assert all(parts.values())
    assert sorted(clip.audio for part in parts.values() for clip in part) == sorted(
        clip.audio for clip in all_of_them
    )


@given(clips, seeds)
def test_clips_divide_within_their_shares(all_of_them: list[Utterance], seed: int) -> None:
    found = split(all_of_them, "clips", SHARES, seed)
    total = sum(clip.duration for clip in all_of_them)
    for part in (found.validation, found.test):
        hours = sum(clip.duration for clip in part)
        assert len(part) == 1 or hours <= total * 0.1 + 1e-6
    assert found.train


@pytest.mark.parametrize("by", ["speakers", "clips"])
def test_the_order_of_the_input_changes_nothing(by: By) -> None:
    some = _clips(list("AABBCCDDEEFF") * 5, [1.0 + n % 7 for n in range(60)])
    found = split(some, by, SHARES, 1)
    turned = split(some[::-1], by, SHARES, 1)
    assert set(found.test) == set(turned.test)
    assert set(found.validation) == set(turned.validation)


def test_a_seed_is_kept_and_another_differs() -> None:
    some = _clips([f"s{n}" for n in range(100)], [1.0] * 100)
    assert split(some, "speakers", SHARES, 1) == split(some, "speakers", SHARES, 1)
    assert split(some, "speakers", SHARES, 1) != split(some, "speakers", SHARES, 2)


def test_a_new_speaker_moves_few() -> None:
    some = _clips([f"s{n}" for n in range(100)], [1.0] * 100)
    before = split(some, "speakers", SHARES, 1)
    after = split([*some, *_clips(["new"], [1.0])], "speakers", SHARES, 1)
    assert len(set(before.test) - set(after.test)) <= 1
    assert len(set(before.validation) - set(after.validation)) <= 2


@pytest.mark.parametrize(("validation", "test"), [(0, 0.1), (0.1, 0), (0.5, 0.5)])
def test_impossible_shares_are_refused(validation: float, test: float) -> None:
    with pytest.raises(ValueError, match="shares"):
        Shares(validation, test)


def test_two_clips_cannot_be_divided() -> None:
    with pytest.raises(CannotSplit, match="2 clips cannot be divided into three parts$"):
        split(_clips(["A", "B"], [1, 1]), "clips", SHARES, 0)
