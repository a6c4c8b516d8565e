"""Texts: composed, in one spelling, in words; nothing the tokenizer would drop unseen."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.training.texts import KNOWN, LETTERS, TrainingReader, letters, plain
from scripts.training.texts import unknown_characters as unknown

READER = TrainingReader()
vietnamese = st.text(st.sampled_from(sorted(KNOWN | {"Đ", "Ợ", "\u0301", "–", "“", "3"})))


def test_the_alphabet_has_all_vowels_in_all_tones() -> None:
    assert len(LETTERS) == 26 + 1 + 6 + 12 * 5  # a–z, đ, ă â ê ô ơ ư, and five marked tones each
    assert all(len(letter) == 1 for letter in LETTERS)


@pytest.mark.parametrize(
    ("text", "written", "spoken"),
    [
        ("Giá 5 nghìn", "Giá 5 nghìn", "Giá năm nghìn"),
        ("“Vâng” – cô nói…", '"Vâng" - cô nói...', '"Vâng" - cô nói...'),
        (unicodedata.normalize("NFD", "Tiếng Việt"), "Tiếng Việt", "Tiếng Việt"),
    ],
)
def test_text_and_how_it_is_said(text: str, written: str, spoken: str) -> None:
    assert READER.read(text) == (written, spoken)


@given(vietnamese)
def test_plain_text_is_composed_and_stays_as_it_is(text: str) -> None:
    once = plain(text)
    assert unicodedata.is_normalized("NFC", once)
    assert plain(once) == once
    assert once == once.strip()


@given(st.text(st.sampled_from(sorted(LETTERS) + [" ", ",", "."])))
def test_what_the_tokenizer_knows_is_not_unknown(text: str) -> None:
    assert unknown(plain(text).upper()) == set()


def test_what_the_tokenizer_does_not_know_is_found() -> None:
    assert unknown("naïve 3 % ж") == {"ï", "3", "%", "ж"}
    assert letters("Đường 3-2!") == 5
