"""Character errors: of sound, not of writing; over all characters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.training.character_errors import CharacterErrors, CharacterScorer

SCORER = CharacterScorer()


@pytest.mark.parametrize(
    ("expected", "heard", "characters", "errors"),
    [
        ("Xin chào!", "xin chào", 8, 0),
        ("Giá 5 nghìn.", "giá năm nghìn", 13, 0),
        ("má", "mà", 2, 1),  # another tone is another character
        ("má", "", 2, 2),
        ("má", "má má", 2, 3),
        ("...", "a", 0, 1),
        ("", "", 0, 0),
    ],
)
def test_errors(expected: str, heard: str, characters: int, errors: int) -> None:
    assert SCORER.score(expected, heard) == CharacterErrors(characters, errors)


def test_the_rate_is_over_all_characters() -> None:
    total = CharacterErrors(10, 1) + CharacterErrors(90, 1)
    assert total.rate == pytest.approx(0.02)
    assert CharacterErrors(0, 3).rate == 1
    assert CharacterErrors().rate == 0


@given(st.text(st.sampled_from("aáạm chđ.,3"), max_size=30))
def test_a_text_is_itself(text: str) -> None:
    assert SCORER.score(text, text).errors == 0
