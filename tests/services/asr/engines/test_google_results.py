"""Results of several streams become one text."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.asr.engines.base import HypothesisWord
from services.asr.engines.google_results import GUARD_MS, Result, Transcript, joined


def settled(*words: tuple[str, int, int], end_ms: int, text: str | None = None) -> Result:
    timed = tuple(HypothesisWord(word, start, end, 0.9) for word, start, end in words)
    said = " ".join(word for word, _, _ in words) if text is None else text
    return Result(said, True, end_ms, "en", 0.8, timed)


def guess(text: str) -> Result:
    return Result(text, False, 0)


@pytest.mark.parametrize(
    ("first", "second", "both"),
    [
        ("", "to be", "to be"),
        ("to be", "", "to be"),
        ("to be", " or not", "to be or not"),
        ("to be", "or not", "to be or not"),
        ("Yes.", "No.", "Yes. No."),
        ("今天", "天气", "今天天气"),
        ("ไป", "ไหน", "ไปไหน"),
    ],
)
def test_portions_are_joined_as_their_script_wants(first: str, second: str, both: str) -> None:
    assert joined(first, second) == both


def test_settled_and_guessed() -> None:
    transcript = Transcript()
    transcript.take([guess("to be"), guess(" or not")])
    assert (transcript.stable, transcript.text) == ("", "to be or not")
    transcript.take([settled(("to", 0, 100), ("be", 100, 200), end_ms=500), guess(" or")])
    assert (transcript.stable, transcript.text) == ("to be", "to be or")
    assert transcript.covered_ms == 500
    transcript.take([settled(end_ms=900)])
    assert (transcript.text, transcript.covered_ms) == ("to be", 900)


def test_a_guess_that_nothing_followed_is_kept() -> None:
    transcript = Transcript()
    transcript.take([guess("wait")])
    assert transcript.hypothesis().text == "wait"


def test_confidence_counts_by_length_of_text() -> None:
    transcript = Transcript()
    transcript.take([Result("x" * 30, True, 100, "en", 0.9)])
    transcript.take([Result("y" * 10, True, 200, "vi", 0.5)])
    transcript.take([Result("z" * 10, True, 300)])
    heard = transcript.hypothesis()
    assert (heard.confidence, heard.language) == (0.8, "vi")


def test_words_before_a_cut_are_left_to_the_next_stream() -> None:
    transcript = Transcript()
    transcript.take_last([settled(("one", 0, 300), ("two", 400, 800), end_ms=1000)], 1000)
    assert transcript.text == "one"
    assert 300 <= transcript.covered_ms <= 400


def test_punctuation_stays_with_the_words_before_a_cut() -> None:
    transcript = Transcript()
    words = (("well", 0, 300), ("yes", 300, 600), ("no", 1500, 1990))
    transcript.take_last([settled(*words, end_ms=2000, text="Well, yes. No")], 2000)
    assert transcript.text == "Well, yes."
    assert 600 <= transcript.covered_ms <= 1500


def test_a_cut_in_silence_leaves_nothing() -> None:
    transcript = Transcript()
    transcript.take([settled(("one", 0, 300), end_ms=800)])
    transcript.take_last([], 60_000)
    assert (transcript.text, transcript.covered_ms) == ("one", 60_000 - GUARD_MS)


def test_without_times_all_words_count_as_whole() -> None:
    transcript = Transcript()
    transcript.take_last([Result("one two", True, 1000)], 1000)
    assert (transcript.text, transcript.covered_ms) == ("one two", 1000)


@given(
    lengths=st.lists(st.integers(50, 900), min_size=1, max_size=20),
    gaps=st.lists(st.integers(0, 3000), min_size=20, max_size=20),
    cut_share=st.floats(0.05, 1.0),
)
def test_each_word_is_heard_whole_by_one_stream(
    lengths: list[int], gaps: list[int], cut_share: float
) -> None:
    """What the first stream keeps and what the next one hears is every word once."""
    words, at = [], 0
    for index, (length, gap) in enumerate(zip(lengths, gaps, strict=False)):
        words.append((f"w{index}", at + gap, at + gap + length))
        at += gap + length
    cut = round(at * cut_share)
    first = [(word, start, min(end, cut)) for word, start, end in words if start < cut]
    transcript = Transcript()
    transcript.take_last([settled(*first, end_ms=cut)] if first else [], cut)
    begin = transcript.covered_ms
    kept = transcript.text.split()
    rest = [word for word, start, _ in words if start >= begin]
    assert kept + rest == [word for word, _, _ in words]
    assert begin <= cut


@given(st.lists(st.tuples(st.booleans(), st.text("ab ,天气", max_size=8)), min_size=1, max_size=12))
def test_what_is_stable_only_grows(portions: list[tuple[bool, str]]) -> None:
    transcript = Transcript()
    stables = [""]
    for index, (final, text) in enumerate(portions):
        transcript.take([Result(text, final, 100 * index)])
        assert transcript.text.startswith(transcript.stable)
        stables.append(transcript.stable)
    for before, after in itertools.pairwise(stables):
        assert after.startswith(before)
    assert transcript.hypothesis().text.startswith(stables[-1])
