from collections.abc import Callable

import pytest

from services.asr.messages import Final, Partial
from services.bench.partials import changed_words, flicker_of, gaps_s, retractions
from services.bench.passages import Segment


@pytest.mark.parametrize(
    ("texts", "changed"),
    [
        ([], 0),
        (["", "hello", "hello there", "Hello there."], 0),
        (["I scream", "ice cream", "ice cream"], 2),
        (["a b c d", "a x c d"], 3),  # everything after the first change had to be taken back
        (["a b", "a", "a b"], 1),
        (["don't", "don’t go"], 1),
    ],
)
def test_words_that_did_not_stay(texts: list[str], changed: int) -> None:
    assert changed_words(texts) == changed


def test_flicker_compares_with_the_final_too(
    final: Callable[..., Final], partial: Callable[..., Partial]
) -> None:
    segment = Segment([(1.0, partial("one too"))], final("one two three", 0, 900), 1.4)
    assert flicker_of(segment) == (1, 3)


@pytest.mark.parametrize(
    ("partials", "end", "broken"),
    [
        ([("a b", ""), ("a b c", "a b")], "a b c d", 0),
        ([("a b", "a b"), ("a b c", "a")], "a b c", 1),  # shrank
        ([("a b", "a"), ("x b", "x")], "x b", 1),  # changed
        ([("a b", "a b")], "a x", 1),  # the final breaks it
        ([("a b", "a b")], "", 1),  # a suppressed final breaks it
        ([("x", "a")], "a", 1),  # no prefix of its own text
    ],
)
def test_broken_promises(
    partials: list[tuple[str, str]],
    end: str,
    broken: int,
    final: Callable[..., Final],
    partial: Callable[..., Partial],
) -> None:
    shown = [(float(at), partial(*texts)) for at, texts in enumerate(partials)]
    assert retractions(Segment(shown, final(end, 0, 900), 9.0)) == broken


def test_gaps_between_partials(partial: Callable[..., Partial]) -> None:
    shown = [(1.0, partial("a")), (1.25, partial("b")), (1.75, partial("c"))]
    assert gaps_s(Segment(shown)) == [0.25, 0.5]
    assert gaps_s(Segment()) == []
