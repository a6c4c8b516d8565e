"""What callers of the benchmark say, and what is made of what they heard."""

from itertools import islice
from pathlib import Path

import pytest

from examples.asterisk_bridge.bench import run
from examples.asterisk_bridge.bench.levels import level_of, taken
from examples.asterisk_bridge.bench.stack import StackPlan
from examples.asterisk_bridge.bench.stages import CallJournal, JournalTurn
from examples.asterisk_bridge.bench.talk import Answered, CallHeard
from services.bench.corpus import bundled_corpus


def plan(*, interrupt: bool = True) -> run.CallPlan:
    return run.CallPlan(
        corpus=bundled_corpus(),
        levels=(1,),
        calls=1,
        turns=3,
        seed=1,
        interrupt=interrupt,
        record=False,
        stack=StackPlan(),
    )


def test_callers_say_whole_sentences_that_begin_and_end_in_sound() -> None:
    speeches = run.load_speeches(bundled_corpus())
    assert sorted(speech.name for speech in speeches) == sorted(run.QUESTIONS)
    for speech in speeches:
        assert speech.begin_s < 0.05
        assert 2.0 < speech.end_s <= speech.length_s < 4.0


def test_the_same_seed_asks_the_same() -> None:
    speeches = run.load_speeches(bundled_corpus())
    first, again = (list(islice(run.scripts(plan(), speeches, "1/8"), 20)) for _ in range(2))
    assert first == again
    assert {len(script.questions) for script in first} == {3}
    interruptions = {script.interruption.name for script in first if script.interruption}
    assert len(interruptions) > 2 and "demo-nomatch" not in interruptions
    quiet = next(run.scripts(plan(interrupt=False), speeches, "1/8"))
    assert quiet.interruption is None


@pytest.mark.parametrize("turns, failure", [(0, "no agent took it"), (1, None)])
def test_a_call_that_the_dial_plan_answered_has_failed(turns: int, failure: str | None) -> None:
    greeting = JournalTurn("greeting", "none", None, None, None, None, None, None, 100)
    journal = CallJournal(0.0, [greeting] * turns, [])
    assert taken(CallHeard("1", None), journal).failure == failure
    assert taken(CallHeard("1", None), None).failure == "no agent took it"
    assert taken(CallHeard("1", "busy"), journal).failure == "busy"


def test_a_level_that_lost_something_says_so(tmp_path: Path) -> None:
    heard = [
        CallHeard("a", None, 0.05, (Answered("q", 1.0, 2.0, 0.6),), 3.0, 0.2),
        CallHeard("b", None, 0.05, (Answered("q", 1.0, 2.0, None),), 3.0, None),
        CallHeard("c", "busy"),
    ]
    level = level_of(2, 10.0, {"asr": 5.0}, heard, [None, None, None])
    assert level.answer_ms.count == 1 and level.answer_ms.p50 == 600.0
    assert level.losses == [
        "1 calls failed",
        "1 questions without an answer",
        "1 interruptions without silence",
    ]
