"""From answers to figures. Pure: works on what was noted, however it came about."""

from collections.abc import Sequence

import numpy as np

from services.bench.results import ServiceLoad, Spread
from services.bench.tts_counters import Counters, increase, quantile_ms
from services.bench.tts_listener import Answer
from services.bench.tts_results import Memory, Pair, ServiceCounts, TtsLevel

_POINTS = 200
_TREND_ANSWERS = 200
"""Fewer tell nothing about growth."""


def measure_level(
    feed: str,
    listeners: Sequence[Sequence[Answer]],
    seconds: float,
    load: ServiceLoad,
    memory: Sequence[tuple[float, float]],
    counts: ServiceCounts,
) -> TtsLevel:
    """All figures of one level, `seconds` long."""
    answers = [answer for heard in listeners for answer in heard]
    whole = [answer for answer in answers if answer.finished is not None]
    holes = [(answer, hole) for answer in answers for hole in answer.player.underruns]
    audio_s = sum(answer.player.heard_s for answer in answers)
    cpu_s = None if load.cpu_percent is None else load.cpu_percent / 100 * seconds
    return TtsLevel(
        concurrency=len(listeners),
        feed=feed,
        seconds=round(seconds, 1),
        answers=len(answers),
        completed=len(whole),
        audio_s=round(audio_s, 1),
        first_audio_ms=Spread.of_seconds(
            _since(answer.clause_s, answer.first_s) for answer in answers
        ),
        from_text_ms=Spread.of_seconds(
            _since(answer.began_s, answer.first_s) for answer in answers
        ),
        told_first_audio_ms=Spread.of_seconds(_told_s(answer) for answer in whole),
        underruns=len(holes),
        underrun_ms=round(sum(hole.gap_s for _, hole in holes) * 1000, 1),
        underruns_unwritten=sum(
            answer.written_s is None or hole.at_s < answer.written_s for answer, hole in holes
        ),
        answers_with_underruns=sum(bool(answer.player.underruns) for answer in answers),
        real_time_factor=_pair([_factor(answer) for answer in whole if answer.player.heard_s]),
        cpu_per_audio=round(cpu_s / audio_s, 4) if cpu_s is not None and audio_s else None,
        cancelled=sum(answer.cancelled is not None for answer in answers),
        cancel_ms=Spread.of_seconds(
            _since(answer.cancel_sent_s, answer.cancelled_s) for answer in answers
        ),
        bytes_after_cancelled=sum(answer.bytes_after_cancel for answer in answers),
        length_error_ms=Spread.of_seconds(_length_error_s(answer) for answer in whole),
        refused=sum(answer.refused for answer in answers),
        errors=tuple(answer.error for answer in answers if answer.error and not answer.refused),
        counts=counts,
        load=load,
        memory=memory_of(memory, len(answers)),
    )


def counts_of(before: Counters, after: Counters) -> ServiceCounts:
    """What grew between two readings."""
    cancel = "voice_tts_cancel_seconds"
    return ServiceCounts(
        engine_free_p50_ms=quantile_ms(after, before, cancel, 0.5),
        engine_free_p99_ms=quantile_ms(after, before, cancel, 0.99),
        underruns=increase(after, before, "voice_tts_underruns_total"),
        cache_hits=increase(after, before, "voice_tts_cache_hits_total"),
        cache_misses=increase(after, before, "voice_tts_cache_misses_total"),
    )


def memory_of(series: Sequence[tuple[float, float]], answers: int) -> Memory | None:
    """The trend of (seconds, MB) over a level with so many answers; None when it is too short."""
    if len(series) < 4 or not answers:
        return None
    seconds, mb = np.array(series).T
    tenth, half = max(1, len(mb) // 10), len(mb) // 2
    growth = None
    if answers >= _TREND_ANSWERS:
        per_second = float(np.polyfit(seconds[half:], mb[half:], 1)[0])
        growth = round(per_second * float(seconds[-1] - seconds[0]) / answers * 1000, 2)
    step = -(-len(series) // _POINTS)
    return Memory(
        start_mb=round(float(mb[:tenth].mean()), 1),
        end_mb=round(float(mb[-tenth:].mean()), 1),
        mb_per_1000=growth,
        series=tuple((round(at, 1), round(size, 1)) for at, size in series[::step]),
    )


def _since(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else end - start


def _told_s(answer: Answer) -> float | None:
    told = answer.finished.first_audio_ms if answer.finished else None
    return None if told is None else told / 1000


def _factor(answer: Answer) -> float:
    assert answer.last_s is not None
    return (answer.last_s - answer.began_s) / answer.player.heard_s


def _pair(ratios: Sequence[float]) -> Pair:
    if not ratios:
        return Pair(p50=None, p95=None)
    p50, p95 = (round(float(value), 3) for value in np.percentile(ratios, (50, 95)))
    return Pair(p50=p50, p95=p95)


def _length_error_s(answer: Answer) -> float | None:
    if answer.finished is None:
        return None
    return abs(answer.player.heard_s - answer.finished.audio_ms / 1000)
