import pytest

from services.bench.wer import Scorer, WordErrors


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer()


def test_spelling_numbers_and_punctuation_are_no_errors(scorer: Scorer) -> None:
    found = scorer.score("Mr. Smith's colour: fifty-two!", "mister smith's color 52", "en-GB")
    assert found.errors == 0
    assert found.words == 5


def test_counts_each_kind(scorer: Scorer) -> None:
    found = scorer.score("a b c d e f", "a x c e f g", "de")
    assert found == WordErrors(words=6, substitutions=1, deletions=1, insertions=1)


def test_nothing_said_and_nothing_heard(scorer: Scorer) -> None:
    assert scorer.score("", "two words", "en") == WordErrors(insertions=2)
    assert scorer.score("two words", "", "en") == WordErrors(words=2, deletions=2)
    assert scorer.score("", "", "en") == WordErrors()


def test_rate_is_over_all_words_not_the_mean_of_rates() -> None:
    together = WordErrors(words=1, substitutions=1) + WordErrors(words=9)
    assert together.rate == pytest.approx(0.1)
    assert WordErrors().rate == 0.0
    assert WordErrors(insertions=3).rate == 1.0
