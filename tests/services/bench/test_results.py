import pytest

from services.bench.results import Spread, Wer
from services.bench.wer import WordErrors


def test_spread_of_seconds_is_in_milliseconds() -> None:
    spread = Spread.of_seconds([n / 1000 for n in range(101)])
    assert (spread.count, spread.mean, spread.p50, spread.p95, spread.max) == (101, 50, 50, 95, 100)


def test_spread_of_nothing() -> None:
    assert Spread.of_seconds([]).p50 is None
    assert Spread.of_seconds([None, 0.5, None]) == Spread.of_seconds([0.5])


def test_wer_is_told_in_percent() -> None:
    assert Wer.of(WordErrors(words=300, deletions=10)).percent == pytest.approx(3.33)
