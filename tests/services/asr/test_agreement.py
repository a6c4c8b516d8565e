"""What is promised of a growing hypothesis."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.asr.agreement import Agreement, keeping, pieces_of


def told(*texts: str, hold_back: int = 2) -> Agreement:
    """After these hypotheses over one, two, … seconds."""
    agreement = Agreement(hold_back)
    for second, text in enumerate(texts, 1):
        agreement.update(text, second * 16_000)
    return agreement


# Pieces.


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("", []),
        ("   ", []),
        ("ask not what", ["ask", " not", " what"]),
        ("don't, please!", ["don't,", " please!"]),
        ("xin chào bạn", ["xin", " chào", " bạn"]),
        ("สวัสดี", ["ส", "ว", "ั", "ส", "ด", "ี"]),
        ("你好 world", ["你", "好", " world"]),
        ("これはtest", ["こ", "れ", "は", "test"]),
        ("안녕 하세요", ["안녕", " 하세요"]),
    ],
)
def test_words_or_characters(text: str, pieces: list[str]) -> None:
    assert pieces_of(text) == pieces


mixed = st.text(st.sampled_from("ab ก ข你好こ가\n\t.,'é🙂"), max_size=40) | st.text(max_size=40)


@given(mixed)
def test_joined_pieces_give_the_text_back(text: str) -> None:
    assert "".join(pieces_of(text)) == text.rstrip()


# Promises.


def test_one_hypothesis_promises_nothing() -> None:
    agreement = told("ask not what your country")
    assert (agreement.text, agreement.stable) == ("ask not what your country", "")


def test_two_promise_what_they_agree_on_but_for_the_newest_words() -> None:
    agreement = told("ask not what your", "ask not what your country")
    assert agreement.stable == "ask not what"
    assert agreement.text == "ask not what your country"


def test_the_promise_ends_where_they_differ() -> None:
    assert told("ask not what you are", "ask not who you are now").stable == "ask not"


def test_words_were_spoken_before_the_older_hypothesis_ended() -> None:
    agreement = told("one two", "one two three", "one two three four five")
    assert agreement.stable == "one two three"
    assert agreement.stable_end == 2 * 16_000


def test_thai_is_promised_by_character() -> None:
    assert told("สวัสดีครับ", "สวัสดีทุกคน").stable == "สวัสดี"
    assert told("สวัสดีครับ", "สวัสดีครับผม", hold_back=0).stable == "สวัสดีครับ"


def test_chinese_is_promised_by_character() -> None:
    assert told("今天天气很好", "今天天气很冷吗").stable == "今天天气很"


def test_a_contradiction_is_not_taken() -> None:
    agreement = told("one two three four", "one two three four five", "won too three four five six")
    assert agreement.text == "one two three four five"
    assert agreement.stable == "one two three"


def test_what_is_not_trusted_is_shown_but_promises_nothing() -> None:
    agreement = Agreement()
    for second in range(1, 10):
        agreement.update("thank you for watching", second * 16_000, trusted=False)
    assert agreement.text == "thank you for watching"
    assert agreement.stable == ""


def test_trust_must_be_earned_by_the_older_of_two() -> None:
    agreement = Agreement()
    agreement.update("one two three four", 16_000, trusted=False)
    agreement.update("one two three four", 32_000)
    assert agreement.stable == ""
    agreement.update("one two three four", 48_000)
    assert agreement.stable == "one two"


words = st.lists(st.sampled_from(["a", "b", "ask", "สวัส", "你好", "not,"]), max_size=12)


@given(st.lists(st.tuples(words, st.booleans()), max_size=12), st.integers(0, 3))
def test_a_promise_is_kept(hypotheses: list[tuple[list[str], bool]], hold_back: int) -> None:
    agreement = Agreement(hold_back)
    stable, stable_end = "", 0
    for second, (said, trusted) in enumerate(hypotheses, 1):
        agreement.update(" ".join(said), second * 16_000, trusted=trusted)
        assert agreement.stable.startswith(stable)
        assert agreement.text.startswith(agreement.stable)
        assert stable_end <= agreement.stable_end < second * 16_000
        if agreement.stable != stable:
            pieces = pieces_of(agreement.text)
            assert len(pieces_of(agreement.stable)) <= len(pieces) - hold_back
        stable, stable_end = agreement.stable, agreement.stable_end


@given(words, words)
def test_a_prefix_that_is_honoured_brings_the_promise_forward(
    first: list[str], more: list[str]
) -> None:
    """As a session uses it: every decode begins with what is promised."""
    agreement = told(*[" ".join(first)] * 2, hold_back=0)
    assert agreement.stable == " ".join(first)
    agreement.update(" ".join([*first, *more]), 48_000)
    assert agreement.text == " ".join([*first, *more])


def test_what_an_engine_promises_itself_is_taken_and_no_more() -> None:
    agreement = Agreement()
    agreement.promise("to be or", "to be", 16_000)
    assert (agreement.text, agreement.stable, agreement.stable_end) == ("to be or", "to be", 16_000)
    agreement.promise("do be or not", "do be", 32_000)
    assert (agreement.text, agreement.stable) == ("to be or", "to be")
    agreement.promise("to be or not", "to", 32_000)
    assert (agreement.text, agreement.stable) == ("to be or not", "to be")


@pytest.mark.parametrize(
    ("promise", "text", "kept"),
    [
        ("", "to be", "to be"),
        ("to be", "to be or not", "to be or not"),
        ("to be", "do bee or not", "to be or not"),
        ("to be", "do", "to be"),
        ("to be", "", "to be"),
        ("今天", "明天天气", "今天天气"),
    ],
)
def test_a_promise_is_kept_by_another_engine(promise: str, text: str, kept: str) -> None:
    assert keeping(promise, text) == kept
