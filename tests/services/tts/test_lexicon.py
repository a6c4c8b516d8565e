"""Entries are checked; whole words are found, the longest first."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.tts.lexicon import MAX_SAY, Lexicon, LexiconError, checked_entry, find_words
from services.tts.normalisation.base import replaced


def said(text: str, *lexicons: dict[str, str], phonemes: bool = True) -> str:
    found = find_words(text, [Lexicon(entries) for entries in lexicons], phonemes=phonemes)
    return replaced(text, found)


def test_whole_words_only() -> None:
    assert said("A cat, cats, concat; cat's cat_x", {"cat": "dog"}) == (
        "A dog, cats, concat; dog's dog_x"
    )


def test_the_longest_goes_first() -> None:
    entries = {"New": "N", "New York": "N Y", "New York City": "big apple"}
    assert said("New York City, New York, New", entries) == "big apple, N Y, N"


def test_small_letters_stand_for_any_capitals_for_themselves() -> None:
    assert said("Data DATA data", {"data": "dayta"}) == "dayta dayta dayta"
    assert said("US us Us", {"US": "you ess"}) == "you ess us Us"


def test_the_first_lexicon_goes_before_the_second_unless_that_knows_more() -> None:
    assert said("a b, c", {"a": "1", "c": "2"}, {"a b": "3", "c": "4"}) == "3, 2"


def test_phonemes_only_for_those_who_take_them() -> None:
    entries = {"Nguyen": "/wɪn/", "Anh": "ann"}
    assert said("Nguyen Anh", entries) == "[[wɪn]] ann"
    assert said("Nguyen Anh", entries, phonemes=False) == "Nguyen ann"


def test_words_are_compared_in_composed_form() -> None:
    assert said("caf\u00e9", {"cafe\u0301": "coffee"}) == "coffee"


@pytest.mark.parametrize(
    ("word", "say", "reason"),
    [
        ("", "x", "1 to 100 characters"),
        ("x", " ", "1 to 200 characters"),
        ("x" * 101, "x", "1 to 100 characters"),
        ("x", "y" * (MAX_SAY + 1), "1 to 200 characters"),
        ("x", "…", "nothing can be heard"),
        ("x", "a\0b", "cannot be read"),
        ("x", "[[a]]", "cannot be read"),
        ("$x", "a", "begin with a letter"),
        ("x", "/w1n/", "no IPA symbol"),
        ("x", "/[a]/", "no IPA symbol"),
    ],
)
def test_impossible_entries_are_refused_with_a_reason(word: str, say: str, reason: str) -> None:
    with pytest.raises(LexiconError, match=reason):
        checked_entry(word, say)


def test_the_version_depends_on_the_entries_only() -> None:
    one, two = Lexicon({"a": "x", "b": "y"}), Lexicon({"b": "y", "a": "x"})
    assert one.version == two.version != Lexicon({"a": "x"}).version
    assert two.without("b").version == Lexicon({"a": "x"}).version
    assert Lexicon({"a": "x"}).with_entry(checked_entry("b", "y")).version == one.version


def test_ten_thousand_entries_cost_little() -> None:
    lexicon = Lexicon({f"word{number}": "x" for number in range(10_000)})
    lexicon = Lexicon({**lexicon.as_told(), "fox": "f"})
    text = "The quick brown fox jumps over the lazy dog. " * 6
    begun = time.process_time()
    for _ in range(10):
        assert len(find_words(text, [lexicon], phonemes=False)) == 6
    assert time.process_time() - begun < 0.5


@given(st.text(max_size=60), st.dictionaries(st.text(max_size=6), st.text(max_size=6), max_size=5))
def test_any_text_with_any_entries(text: str, entries: dict[str, str]) -> None:
    try:
        lexicon = Lexicon(entries)
    except LexiconError:
        return
    at = 0
    for one in find_words(text, [lexicon], phonemes=True):
        assert at <= one.start < one.end <= len(text)
        at = one.end
