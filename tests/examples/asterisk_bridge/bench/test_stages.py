"""The journal laid beside the recording."""

from examples.asterisk_bridge.bench.stages import (
    CallJournal,
    JournalEvent,
    JournalTurn,
    answers_of,
    decode_ms,
    interruption_ms,
    ran_dry,
    was_interrupted,
)
from examples.asterisk_bridge.bench.talk import Answered, CallHeard

BEGAN = 1_700_000_000.0


def turn(
    wire_first_ms: int | None,
    moments: dict[str, int],
    *,
    kind: str = "answer",
    speculation: str = "none",
) -> JournalTurn:
    names = ("speech_end", "turn_pending", "asr_final", "llm_start", "llm_first", "tts_first")
    known = {f"{name}_ms": moments.get(name) for name in names}
    return JournalTurn(kind, speculation, wire_first_ms=wire_first_ms, **known)


def heard(*answers: Answered, onset_s: float | None = None) -> CallHeard:
    onset = None if onset_s is None else BEGAN + onset_s
    return CallHeard("bench-1", None, answers=answers, onset_unix_s=onset)


def asked(begin_s: float, end_s: float, answer_s: float | None) -> Answered:
    return Answered("vm-helpexit", BEGAN + begin_s, BEGAN + end_s, answer_s)


def test_an_answer_that_waited_for_the_end_of_the_turn() -> None:
    moments = {"turn_pending": 5250, "llm_start": 5251, "llm_first": 5301, "tts_first": 5400}
    moments |= {"speech_end": 5080, "asr_final": 5600}
    hit = turn(5605, moments, speculation="hit")
    journal = CallJournal(BEGAN, [turn(120, {}, kind="greeting"), hit], [])
    (answer,) = answers_of(heard(asked(3.0, 5.0, 0.650)), journal)
    assert (answer.answer_ms, answer.log_ms, answer.speculation) == (650.0, 525.0, "hit")
    stages = answer.stages
    assert stages is not None
    assert (stages.pending_ms, stages.final_ms, stages.ready_ms) == (250.0, 600.0, 400.0)
    assert (stages.llm_ms, stages.speech_ms) == (50.0, 99.0)
    assert (stages.held_ms, stages.release_ms, stages.transport_ms) == (200.0, 5.0, 45.0)


def test_each_question_has_its_own_answer_and_may_have_none() -> None:
    first = turn(5600, {"speech_end": 5050, "asr_final": 5300, "tts_first": 5590})
    third = turn(25_700, {"speech_end": 25_050, "asr_final": 25_300, "tts_first": 25_690})
    journal = CallJournal(BEGAN, [first, third], [])
    call = heard(asked(3, 5, 0.62), asked(13, 15, None), asked(23, 25, 0.75))
    answers = answers_of(call, journal)
    assert [answer.log_ms for answer in answers] == [550.0, None, 650.0]
    assert [answer.answer_ms for answer in answers] == [620.0, None, 750.0]
    assert answers[1].stages is None
    held = answers[0].stages
    assert held is not None and held.held_ms == 0.0 and held.release_ms == 10.0


def test_without_a_journal_the_recording_speaks_alone() -> None:
    (answer,) = answers_of(heard(asked(3, 5, 0.62)), None)
    assert answer.answer_ms == 620.0
    assert answer.log_ms is None and answer.stages is None


def test_an_interruption_is_timed_from_its_true_onset() -> None:
    events = [
        JournalEvent(4000, "speech_began", {"agent_audible": False}),
        JournalEvent(9130, "speech_began", {"agent_audible": True}),
        JournalEvent(9700, "barge_in", {"text": "stop it"}),
    ]
    journal = CallJournal(BEGAN, [], events)
    assert interruption_ms(heard(onset_s=9.0), journal) == 130.0
    assert was_interrupted(journal)
    assert interruption_ms(heard(), journal) is None


def test_what_else_the_journal_counts() -> None:
    events = [
        JournalEvent(1, "asr_final", {"decode_ms": 90}),
        JournalEvent(2, "asr_final", {"decode_ms": None}),
        JournalEvent(3, "ran_dry", {"ms": 200}),
    ]
    journal = CallJournal(BEGAN, [], events)
    assert decode_ms(journal) == [90.0]
    assert ran_dry([journal, journal]) == 2


def test_a_filler_is_not_the_answer() -> None:
    late = turn(8000, {"speech_end": 5050, "asr_final": 5300, "tts_first": 7990})
    journal = CallJournal(BEGAN, [turn(6500, {}, kind="filler"), late], [])
    question = Answered("q", BEGAN + 3, BEGAN + 5, 1.55, onsets_s=(1.55, 3.05))
    (answer,) = answers_of(heard(question), journal)
    assert (answer.first_sound_ms, answer.answer_ms) == (1550.0, 3050.0)
    assert answer.stages is not None and answer.stages.transport_ms == 50.0
    joined = Answered("q", BEGAN + 3, BEGAN + 5, 1.55, onsets_s=(1.55,))
    (answer,) = answers_of(heard(joined), journal)
    assert answer.answer_ms == 3000.0
