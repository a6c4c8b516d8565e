"""What a level of a call benchmark comes to. Pure."""

from collections import Counter
from collections.abc import Iterable, Sequence

from examples.asterisk_bridge.bench.results import (
    AnswerResult,
    CallLevel,
    CallResult,
    Stages,
    StageSpreads,
)
from examples.asterisk_bridge.bench.stages import (
    CallJournal,
    answers_of,
    decode_ms,
    interruption_ms,
    ran_dry,
    was_interrupted,
)
from examples.asterisk_bridge.bench.talk import CallHeard
from services.bench.results import Spread


def taken(heard: CallHeard, journal: CallJournal | None) -> CallHeard:
    """The dial plan's fallback speaks, too: what no agent has said anything in failed."""
    if heard.failure is not None or (journal is not None and journal.turns):
        return heard
    return CallHeard(heard.caller, "no agent took it")


def level_of(
    concurrency: int,
    seconds: float,
    cpu: dict[str, float],
    heard: Sequence[CallHeard],
    journals: Sequence[CallJournal | None],
) -> CallLevel:
    calls = tuple(_call(each, told) for each, told in zip(heard, journals, strict=True))
    answers = [answer for call in calls for answer in call.answers]
    known = [journal for journal in journals if journal is not None]
    interrupted = [call for call, told in zip(calls, heard, strict=True) if told.onset_unix_s]
    return CallLevel(
        concurrency=concurrency,
        seconds=round(seconds, 1),
        answer_ms=_spread(answer.answer_ms for answer in answers),
        log_answer_ms=_spread(answer.log_ms for answer in answers),
        greeting_ms=_spread(call.greeting_ms for call in calls),
        silence_ms=_spread(call.silence_ms for call in calls),
        log_pause_ms=_spread(call.pause_log_ms for call in calls),
        speculation=dict(Counter(answer.speculation or "unknown" for answer in answers)),
        stages=_stage_spreads(answers, calls),
        holes=sum(call.holes for call in calls),
        slips=sum(call.slips for call in calls),
        phone_late_ms=max((call.phone_late_ms for call in calls), default=0.0),
        ran_dry=ran_dry(known) if known else None,
        unanswered=sum(answer.answer_ms is None for answer in answers),
        bridged=sum(answer.answer_ms != answer.first_sound_ms for answer in answers),
        unheard=sum(call.silence_ms is None for call in interrupted),
        cpu_percent=cpu,
        calls=calls,
    )


def _call(heard: CallHeard, journal: CallJournal | None) -> CallResult:
    return CallResult(
        caller=heard.caller,
        failure=heard.failure,
        greeting_ms=None if heard.greeting_s is None else round(heard.greeting_s * 1000, 1),
        answers=answers_of(heard, journal),
        silence_ms=None if heard.silence_s is None else round(heard.silence_s * 1000, 1),
        pause_log_ms=interruption_ms(heard, journal),
        interrupted=None if journal is None else was_interrupted(journal),
        holes=heard.holes,
        slips=heard.slips,
        phone_late_ms=round(heard.phone_late_s * 1000, 1),
        ran_dry=None if journal is None else ran_dry([journal]),
        decode_ms=() if journal is None else tuple(decode_ms(journal)),
    )


def _stage_spreads(answers: Sequence[AnswerResult], calls: Sequence[CallResult]) -> StageSpreads:
    stages = [answer.stages for answer in answers if answer.stages is not None]
    spreads = {
        name: _spread(getattr(each, name) for each in stages) for name in Stages.model_fields
    }
    return StageSpreads(**spreads, decode_ms=_spread(ms for call in calls for ms in call.decode_ms))


def _spread(ms: Iterable[float | None]) -> Spread:
    return Spread.of_seconds(None if each is None else each / 1000 for each in ms)
