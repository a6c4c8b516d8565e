"""Figures from answers that are known exactly."""

import pytest

from services.bench.results import ServiceLoad
from services.bench.tts_counters import Counters
from services.bench.tts_listener import Answer
from services.bench.tts_measure import counts_of, measure_level, memory_of
from services.bench.tts_results import ServiceCounts, TtsLevel
from services.shared.audio.pcm import Encoding
from services.shared.protocol.base import Error, ErrorCode
from services.tts.messages import AudioFinished, AudioStarted, Cancelled

LOAD = ServiceLoad(
    cpu_percent=50.0,
    cpu_percent_max=80.0,
    rss_mb=300.0,
    rss_mb_max=310.0,
    loop_lag_p99_ms=1.0,
    generator_cpu_percent=1.0,
    other_cpu_percent=2.0,
)
NO_COUNTS = ServiceCounts(
    engine_free_p50_ms=None,
    engine_free_p99_ms=None,
    underruns=None,
    cache_hits=None,
    cache_misses=None,
)
SECOND = b"\0" * 32_000


def answer(*arrivals: float, began: float = 100.0, clause: float = 100.2) -> Answer:
    """A second of audio at each arrival."""
    made = Answer("One, two, three.", began, clause_s=clause, written_s=began + 1)
    started = AudioStarted(context_id="a", encoding=Encoding.PCM_S16LE, sample_rate=16_000)
    made.receive(began, started, keep=False)
    for at in arrivals:
        assert not made.receive(at, SECOND, keep=False)
    return made


def finished(made: Answer, audio_ms: int) -> Answer:
    end = AudioFinished(context_id="a", audio_ms=audio_ms, first_audio_ms=310)
    assert made.receive(200.0, end, keep=False)
    return made


def level(*answers: Answer) -> TtsLevel:
    return measure_level("tokens", [answers], 4.0, LOAD, [], NO_COUNTS)


def test_first_audio_counts_from_the_complete_clause() -> None:
    found = level(finished(answer(100.5, 100.6), 2000))
    assert found.first_audio_ms.p50 == pytest.approx(300)
    assert found.from_text_ms.p50 == pytest.approx(500)
    assert found.told_first_audio_ms.p50 == 310
    assert found.real_time_factor.p50 == pytest.approx(0.3)
    assert found.cpu_per_audio == pytest.approx(1.0)  # half a core for 4 s, 2 s of audio
    assert found.length_error_ms.max == 0
    assert found.losses == []


def test_holes_are_counted_and_told_from_text_that_was_not_there() -> None:
    late_text = finished(answer(100.5, 101.6, began=100.7 - 0.1), 2000)
    late_engine = finished(answer(100.5, 103.0, began=99.0), 2000)
    found = level(late_text, late_engine)
    assert (found.underruns, found.underruns_unwritten) == (2, 1)
    assert found.underrun_ms == pytest.approx(100 + 1500)
    assert found.answers_with_underruns == 2


def test_cancels_are_timed_and_audio_after_them_is_a_loss() -> None:
    made = answer(100.5)
    made.cancel_sent_s = 101.0
    assert made.receive(101.02, Cancelled(context_id="a", sent_ms=1000, spoken_text=""), keep=False)
    made.bytes_after_cancel = 640
    found = level(made)
    assert found.cancel_ms.p50 == pytest.approx(20)
    assert (found.cancelled, found.completed) == (1, 0)
    assert found.losses == ["640 bytes of audio after cancelled"]


@pytest.mark.parametrize(
    ("code", "told"),
    [(ErrorCode.OVERLOADED, "1 answers refused"), (ErrorCode.ENGINE_FAILED, "1 answers failed")],
)
def test_a_refused_and_a_failed_answer_are_losses(code: ErrorCode, told: str) -> None:
    made = answer()
    assert made.receive(101.0, Error(code=code, message="No.", retryable=True), keep=False)
    assert level(made).losses == [told]


def test_lengths_are_compared_with_what_was_told() -> None:
    assert level(finished(answer(100.5), 1100)).length_error_ms.max == pytest.approx(100)


def test_growth_is_told_of_long_levels_only() -> None:
    series = [(float(at), 300.0 + at / 100) for at in range(1000)]
    long = memory_of(series, 2000)
    assert long is not None
    assert long.mb_per_1000 == pytest.approx(5.0, abs=0.01)
    assert long.end_mb - long.start_mb == pytest.approx(9.0, abs=0.1)
    assert len(long.series) <= 200
    short = memory_of(series, 10)
    assert short is not None and short.mb_per_1000 is None
    assert memory_of([], 10) is None


def test_the_service_s_own_counts_are_what_was_added() -> None:
    name = "voice_tts_cancel_seconds"
    before = Counters(
        {"voice_tts_underruns_total": 5.0}, {name: {0.01: 1, 0.1: 1, float("inf"): 1}}
    )
    after = Counters(
        {"voice_tts_underruns_total": 7.0}, {name: {0.01: 1, 0.1: 11, float("inf"): 11}}
    )
    counts = counts_of(before, after)
    assert counts.underruns == 2
    assert counts.engine_free_p50_ms == pytest.approx(55)
    assert counts.cache_hits is None
