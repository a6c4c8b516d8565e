"""From calls to figures. Pure: works on event streams, however they came about."""

from collections.abc import Iterable, Sequence

from services.asr.messages import Final, SpeechStarted, Stopped
from services.bench.caller import Call
from services.bench.partials import flicker_of, gaps_s, retractions, words_of
from services.bench.passages import Passage, Turn, passages_of, turns_of
from services.bench.results import (
    LevelResult,
    OfflineResult,
    PassageResult,
    ServerTimings,
    ServiceLoad,
    Spread,
    TurnResult,
    Wer,
)
from services.bench.wer import Scorer, WordErrors

_COMPARED = "beam 1"


def measure_level(
    calls: Sequence[Call],
    seconds: float,
    load: ServiceLoad,
    scorer: Scorer,
    offline: OfflineResult | None,
) -> LevelResult:
    """All figures of one level, `seconds` long."""
    turns = [turns_of(call.events) for call in calls]
    matched = [
        passages_of(call.script.spoken, found) for call, found in zip(calls, turns, strict=True)
    ]
    passages = [passage for found in matched for passage in found]
    segments = [segment for found in turns for turn in found for segment in turn.segments]
    finals = [segment.final for segment in segments if segment.final is not None]
    flicker = [flicker_of(segment) for segment in segments]
    final_words = sum(words for _, words in flicker)
    pauses = [passage for passage in passages if not passage.spoken]
    return LevelResult(
        concurrency=len(calls),
        seconds=round(seconds, 1),
        utterances=sum(len(call.script.spoken) for call in calls),
        wer=Wer.of(_sum(_score(passage, scorer) for passage in passages)),
        offline_wer=_offline_wer(passages, scorer, offline),
        final_ms=Spread.of_seconds(passage.final_s for passage in passages),
        first_partial_ms=Spread.of_seconds(passage.first_partial_s for passage in passages),
        partial_gap_ms=Spread.of_seconds(gap for segment in segments for gap in gaps_s(segment)),
        flicker=round(sum(n for n, _ in flicker) / final_words, 3) if final_words else None,
        retractions=sum(retractions(segment) for segment in segments),
        cut=sum(passage.cut for passage in passages),
        merged=sum(passage.merged for passage in passages),
        missing=sum(len(passage.spoken) for passage in passages if not passage.turns),
        unended=sum(_unended(call) for call in calls),
        in_pauses=sum(len(passage.turns) for passage in pauses),
        in_pauses_words=sum(len(words_of(passage.text)) for passage in pauses),
        suppressed=sum(final.suppressed is not None for final in finals),
        lost_audio_ms=round(sum(_lost_ms(call) for call in calls), 1),
        call_errors=tuple(problem for call in calls for problem in _problems(call)),
        lateness_ms=Spread.of_seconds(late for call in calls for late in call.lateness_s),
        timings=_timings([final for final in finals if final.turn_end]),
        load=load,
        passages=tuple(
            _passage(caller, passage, scorer, offline)
            for caller, found in enumerate(matched)
            for passage in found
        ),
    )


def _sum(errors: Iterable[WordErrors]) -> WordErrors:
    return sum(errors, WordErrors())


def _score(passage: Passage, scorer: Scorer) -> WordErrors:
    return scorer.score(passage.reference, passage.text, _language(passage))


def _language(passage: Passage) -> str:
    return passage.spoken[0].language if passage.spoken else "en"


def _offline_wer(
    passages: Sequence[Passage], scorer: Scorer, offline: OfflineResult | None
) -> dict[str, Wer]:
    """Offline WER over the same recordings, each counted as often as it was said."""
    if offline is None:
        return {}
    spoken = [one for passage in passages for one in passage.spoken]
    return {
        beam: Wer.of(
            _sum(
                scorer.score(one.text, offline.texts[one.recording][beam].text, one.language)
                for one in spoken
            )
        )
        for beam in offline.wer
    }


def _unended(call: Call) -> int:
    started = sum(isinstance(message, SpeechStarted) for _, message in call.events)
    ended = sum(isinstance(message, Final) and message.turn_end for _, message in call.events)
    return max(0, started - ended)


def _lost_ms(call: Call) -> float:
    """Audio that the service says it dropped, or sent audio that it does not know of."""
    for _, message in call.events:
        if isinstance(message, Stopped):
            unknown = call.sent_s * 1000 - message.received_ms
            return message.dropped_ms + (unknown if unknown > 1 else 0.0)
    return 0.0  # the call failed, which is told as such


def _problems(call: Call) -> list[str]:
    told = [
        f"{message.code}: {message.message}"
        for _, message in call.events
        if message.type == "error"
    ]
    if call.error:
        return [*told, call.error]
    finished = any(isinstance(message, Stopped) for _, message in call.events)
    return told if finished else [*told, "the service closed the call before it was over"]


def _timings(finals: Sequence[Final]) -> ServerTimings | None:
    if not finals:
        return None
    timings = [final.timings for final in finals]

    def mean(values: Iterable[float]) -> float:
        return round(sum(values) / len(timings), 2)

    return ServerTimings(
        vad_wait_ms=mean(each.vad_wait_ms for each in timings),
        queue_ms=mean(each.queue_ms for each in timings),
        decode_ms=mean(each.decode_ms for each in timings),
        turn_model_ms=mean(each.turn_model_ms for each in timings),
        total_ms=mean(each.total_ms for each in timings),
        batch_size=mean(each.batch_size for each in timings),
        speculative_share=mean(each.speculative for each in timings),
    )


def _passage(
    caller: int, passage: Passage, scorer: Scorer, offline: OfflineResult | None
) -> PassageResult:
    names = tuple(spoken.recording for spoken in passage.spoken)
    other = None
    if offline is not None:
        other = " ".join(offline.texts[name][_COMPARED].text for name in names)
    language = _language(passage)
    return PassageResult(
        caller=caller,
        recordings=names,
        speech_ms=tuple(
            (round(one.start_s * 1000, 1), round(one.end_s * 1000, 1)) for one in passage.spoken
        ),
        reference=passage.reference,
        streaming=passage.text,
        offline=other,
        errors=scorer.score(passage.reference, passage.text, language).errors,
        offline_errors=None
        if other is None
        else scorer.score(passage.reference, other, language).errors,
        turns=tuple(_turn(turn) for turn in passage.turns),
        final_ms=_ms(passage.final_s),
        first_partial_ms=_ms(passage.first_partial_s),
        suppressed=tuple(
            final.suppressed
            for turn in passage.turns
            for final in turn.finals
            if final.suppressed is not None
        ),
    )


def _turn(turn: Turn) -> TurnResult:
    return TurnResult(
        start_ms=turn.start_s * 1000,
        end_ms=turn.end_s * 1000,
        arrived_ms=round(turn.at_s * 1000, 1),
        text=turn.text,
        finals=len(turn.segments),
    )


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)
