"""What sounds the same counts as the same; what does not, does not."""

import pytest

from services.bench.tts_quality import in_one_spelling
from services.bench.tts_spelling import plain_spelling
from services.bench.wer import Scorer, count_errors


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer()


@pytest.mark.parametrize(
    ("written", "heard"),
    [
        (
            "The meeting starts at 10:30 a.m. on Tuesday.",
            "The meeting starts at 10.30 AM on Tuesday",
        ),
        (
            "Your total comes to $3.50, including tax.",
            "Your total comes to dollar 3.50 including tax",
        ),
        ("My phone number is (415) 555-2671.", "My phone number is 415-555-2671."),
        ("There are 1,250 seats.", "There are 1250 seats."),
        ("The room is 12 by 15 feet.", "The room is twelve by fifteen feet."),
        ("The package weighs 2.5 kg.", "The package weighs 2.5 kilograms."),
    ],
)
def test_one_utterance_in_two_writings(written: str, heard: str, scorer: Scorer) -> None:
    assert in_one_spelling(written, "en", scorer) == in_one_spelling(heard, "en", scorer)


def test_a_wrong_digit_is_one_error(scorer: Scorer) -> None:
    written = in_one_spelling("Please call 555-2671.", "en", scorer)
    heard = in_one_spelling("Please call 555-2677.", "en", scorer)
    assert count_errors(written, heard).errors == 1


def test_words_stay_as_they_are() -> None:
    assert plain_spelling("he's here, isn't he") == "he's here isn't he"
    assert plain_spelling("at 5 p.m. and 9 am") == "at 5 pm and 9 am"
