"""Where the time of an answer went: the call's recording beside its journal. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from examples.asterisk_bridge.bench.results import AnswerResult, Stages
from examples.asterisk_bridge.bench.talk import Answered, CallHeard
from examples.voice_agent.ports import Speculation

_ANSWER = "answer"
_SLACK_S = 0.25
"""By how much the journal may know of something before the recording has it."""
_NOT_BEFORE_S = 0.06
"""By how much a recording, in steps of frames, may seem to have sound before it was sent."""


@dataclass(frozen=True, slots=True)
class JournalTurn:
    """One turn of the agent. Moments are ms of the conversation; see `TurnTimes`."""

    kind: str
    speculation: str | None
    speech_end_ms: int | None
    turn_pending_ms: int | None
    asr_final_ms: int | None
    llm_start_ms: int | None
    llm_first_ms: int | None
    tts_first_ms: int | None
    wire_first_ms: int | None


@dataclass(frozen=True, slots=True)
class JournalEvent:
    at_ms: int
    what: str
    data: dict[str, object]


@dataclass(frozen=True, slots=True)
class CallJournal:
    """What the store has of one call."""

    began_unix_s: float
    turns: Sequence[JournalTurn]
    events: Sequence[JournalEvent]


def answers_of(heard: CallHeard, journal: CallJournal | None) -> tuple[AnswerResult, ...]:
    """Each question of the call with its answer's stages, as far as the journal has them."""
    found = []
    for number, question in enumerate(heard.answers):
        following = heard.answers[number + 1 : number + 2]
        end = following[0].asked_unix_s if following else float("inf")
        turn = None if journal is None else _turn_of(question, end, journal)
        stages, heard_s = None, question.answer_s
        if turn is not None and journal is not None:
            heard_s = _heard_s(question, turn, journal)
            stages = _stages(question, turn, journal, heard_s)
        found.append(
            AnswerResult(
                question=question.question,
                answer_ms=_ms(heard_s),
                first_sound_ms=_ms(question.answer_s),
                log_ms=_between(turn.speech_end_ms, turn.wire_first_ms) if turn else None,
                speculation=turn.speculation if turn else None,
                stages=stages,
            )
        )
    return tuple(found)


def interruption_ms(heard: CallHeard, journal: CallJournal | None) -> float | None:
    """The journal's word: from the true onset to the agent's pause (the ASR service's onset)."""
    onset = heard.onset_unix_s
    if onset is None or journal is None:
        return None
    moments = (
        journal.began_unix_s + event.at_ms / 1000
        for event in journal.events
        if event.what == "speech_began" and event.data.get("agent_audible")
    )
    return _ms(next((at - onset for at in moments if at >= onset - _SLACK_S), None))


def was_interrupted(journal: CallJournal) -> bool:
    """Whether the agent took it for one, in the end."""
    return any(event.what == "barge_in" for event in journal.events)


def ran_dry(journals: Iterable[CallJournal]) -> int:
    """How often the bridge had nothing more to play in the midst of an utterance."""
    return sum(event.what == "ran_dry" for journal in journals for event in journal.events)


def decode_ms(journal: CallJournal) -> list[float]:
    """What the recogniser took for each final, by its own account."""
    found = (event.data.get("decode_ms") for event in journal.events if event.what == "asr_final")
    return [float(each) for each in found if isinstance(each, int | float)]


def _turn_of(question: Answered, until: float, journal: CallJournal) -> JournalTurn | None:
    """The first answer that was put on the wire between this question's end and the next one."""
    for turn in journal.turns:
        if turn.kind != _ANSWER or turn.wire_first_ms is None:
            continue
        at = journal.began_unix_s + turn.wire_first_ms / 1000
        if question.speech_end_unix_s - _SLACK_S <= at < until:
            return turn
    return None


def _heard_s(question: Answered, turn: JournalTurn, journal: CallJournal) -> float | None:
    """The first sound since the answer was put on the wire: what came before was a filler.

    Where the answer follows a filler without a pause, the wire's own moment.
    """
    if question.answer_s is None or turn.wire_first_ms is None:
        return question.answer_s
    wire_s = journal.began_unix_s + turn.wire_first_ms / 1000 - question.speech_end_unix_s
    if question.answer_s >= wire_s - _NOT_BEFORE_S:
        return question.answer_s
    return next((at for at in question.onsets_s if at >= wire_s - _NOT_BEFORE_S), wire_s)


def _stages(
    question: Answered, turn: JournalTurn, journal: CallJournal, heard_s: float | None
) -> Stages:
    def since_end(ms: int | None) -> float | None:
        if ms is None:
            return None
        at = journal.began_unix_s + ms / 1000
        return round((at - question.speech_end_unix_s) * 1000, 1)

    pending = since_end(turn.turn_pending_ms)
    final, first = since_end(turn.asr_final_ms), since_end(turn.tts_first_ms)
    wire = since_end(turn.wire_first_ms)
    ready = None if final is None or first is None else max(final, first)
    hit = turn.speculation == Speculation.HIT
    return Stages(
        pending_ms=pending,
        final_ms=final,
        llm_ms=_between(turn.llm_start_ms, turn.llm_first_ms),
        speech_ms=_between(turn.llm_first_ms, turn.tts_first_ms),
        ready_ms=first,
        held_ms=_difference(final, first, least=0.0) if hit else 0.0,
        release_ms=_difference(wire, ready),
        wire_ms=wire,
        transport_ms=_difference(_ms(heard_s), wire),
    )


def _between(begin: int | None, end: int | None) -> float | None:
    return None if begin is None or end is None else float(end - begin)


def _difference(later: float | None, earlier: float | None, *, least: float = -1e9) -> float | None:
    if later is None or earlier is None:
        return None
    return round(max(least, later - earlier), 1)


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)
