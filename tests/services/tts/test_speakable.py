"""Markup and symbols for the eye go, words stay."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.tts.speakable import speakable


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("**Hi** 😀, see [the docs](https://a.b/c_(d)).", "Hi, see the docs."),
        ("# Title", "Title"),
        ("- [x] done\n- open", "done open"),
        ("> quoted", "quoted"),
        ("`code` and ```\nblock\n```", "code and block"),
        ("snake_case and _em_ and __strong__", "snake_case and em and strong"),
        ("3 * 4 is 12", "3 * 4 is 12"),
        ("~~old~~ new", "old new"),
        ("a<br>b <b>c</b> x < y > z", "a b c x < y > z"),
        ("| a | b |\n|---|---|\n| 1 | 2 |", "a, b 1, 2"),
        ("![a cat](cat.png) <https://x.y>", "a cat https://x.y"),
        ("---\nnext", "next"),
        ("👩‍👩‍👧 family 🇻🇳 1️⃣", "family 1"),
        ("5€ ©2024 ™ 20°", "5€ ©2024 ™ 20°"),
        ("zero\u200bwidth\ufeff \x00\x07", "zerowidth"),
        ("cafe\u0301", "café"),
        ("a \n\t b", "a b"),
        ("it's 5 o'clock — well-known", "it's 5 o'clock — well-known"),
        ("😀🎉", ""),
        ("", ""),
    ],
)
def test_speakable(text: str, expected: str) -> None:
    assert speakable(text).text == expected


@given(st.lists(st.from_regex(r"[a-zA-Z0-9']{1,8}[.,!?]?", fullmatch=True), max_size=30))
def test_plain_text_stays_as_it_is(words: list[str]) -> None:
    assert speakable(" ".join(words)).text == " ".join(words)


@given(st.text(max_size=300))
def test_any_text_becomes_one_clean_line(text: str) -> None:
    out = speakable(text).text
    assert out == out.strip()
    assert "\n" not in out
    assert "\0" not in out
