from collections.abc import Callable

import pytest

from services.asr.messages import Final, Partial, SpeechStarted
from services.bench.passages import Arrival, passages_of, turns_of
from services.bench.script import Spoken

MakeFinal = Callable[..., Final]
MakePartial = Callable[..., Partial]
MakeSpoken = Callable[..., Spoken]


def test_one_recording_and_one_turn(
    final: MakeFinal, partial: MakePartial, spoken: MakeSpoken
) -> None:
    events: list[Arrival] = [
        (1.2, SpeechStarted(start_ms=1050)),
        (1.5, partial("")),
        (1.6, partial("hello")),
        (2.4, final("hello there", 1050, 1980)),
    ]
    [passage] = passages_of([spoken("hello there", 1.0, 2.0)], turns_of(events))
    assert (passage.reference, passage.text) == ("hello there", "hello there")
    assert (passage.cut, passage.merged) == (0, 0)
    assert passage.final_s == pytest.approx(0.4)
    assert passage.first_partial_s == pytest.approx(0.6)


def test_a_recording_cut_in_two(final: MakeFinal, spoken: MakeSpoken) -> None:
    events: list[Arrival] = [
        (2.3, final("one", 1000, 2000)),
        (4.5, final("two", 2800, 4000)),
        (7.4, final("three", 6000, 7000)),
    ]
    said = [spoken("one two", 1.0, 4.1), spoken("three", 6.0, 7.0)]
    cut, whole = passages_of(said, turns_of(events))
    assert (cut.text, cut.cut, cut.merged) == ("one two", 1, 0)
    assert cut.final_s == pytest.approx(0.4)
    assert (whole.text, whole.cut, whole.merged) == ("three", 0, 0)


def test_recordings_merged_into_one_turn(final: MakeFinal, spoken: MakeSpoken) -> None:
    events: list[Arrival] = [(8.2, final("one two three", 1000, 8000))]
    said = [spoken("one", 1.0, 2.0), spoken("two", 4.0, 5.0), spoken("three", 7.0, 8.0)]
    [passage] = passages_of(said, turns_of(events))
    assert (passage.reference, passage.cut, passage.merged) == ("one two three", 0, 2)
    assert passage.final_s == pytest.approx(0.2)


def test_a_chain_of_cut_and_merged_counts_both(final: MakeFinal, spoken: MakeSpoken) -> None:
    events: list[Arrival] = [(2.0, final("a", 1000, 1500)), (5.0, final("b c", 2200, 5000))]
    said = [spoken("a b", 1.0, 3.0), spoken("c", 4.0, 5.0)]
    [passage] = passages_of(said, turns_of(events))
    assert (passage.cut, passage.merged) == (1, 1)


def test_nothing_heard_and_something_heard_in_a_pause(final: MakeFinal, spoken: MakeSpoken) -> None:
    events: list[Arrival] = [(5.0, final("ghost", 4000, 4500))]
    missed, ghost = passages_of([spoken("hello", 1.0, 2.0)], turns_of(events))
    assert (missed.text, missed.turns, missed.final_s) == ("", [], None)
    assert (ghost.reference, ghost.text, ghost.final_s) == ("", "ghost", None)


def test_a_turn_of_several_finals(
    final: MakeFinal, partial: MakePartial, spoken: MakeSpoken
) -> None:
    events: list[Arrival] = [
        (2.0, partial("one")),
        (29.0, final("one", 1000, 28_000, turn_end=False)),
        (30.0, partial("two")),
        (41.0, final("", 28_000, 40_000)),
    ]
    [turn] = turns_of(events)
    assert [len(segment.partials) for segment in turn.segments] == [1, 1]
    [passage] = passages_of([spoken("one", 1.0, 40.0)], [turn])
    assert (passage.text, passage.cut) == ("one", 0)
    assert passage.final_s == pytest.approx(1.0)


def test_a_turn_that_never_ended_has_no_time_to_final(final: MakeFinal, spoken: MakeSpoken) -> None:
    events: list[Arrival] = [(29.0, final("one", 1000, 28_000, turn_end=False))]
    [passage] = passages_of([spoken("one", 1.0, 40.0)], turns_of(events))
    assert (passage.text, passage.final_s) == ("one", None)
