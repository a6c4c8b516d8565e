"""What /metrics tells of finals."""

from prometheus_client import CollectorRegistry

from services.asr.messages import Final, Timings
from services.asr.metrics import AsrMetrics


def test_a_final_is_counted_with_its_timings() -> None:
    registry = CollectorRegistry()
    metrics = AsrMetrics(registry)
    timings = Timings(
        vad_wait_ms=192,
        queue_ms=5,
        batch_size=3,
        decode_ms=110,
        turn_model_ms=48,
        total_ms=210,
        speculative=True,
    )
    final = Final(text="Yes.", start_ms=0, end_ms=500, turn_end=True, timings=timings)
    metrics.count(final)
    metrics.count(final.model_copy(update={"suppressed": "no_speech"}))

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"voice_asr_{name}", labels)

    assert value("finals_total", suppressed="no") == 1
    assert value("finals_total", suppressed="no_speech") == 1
    assert value("final_seconds_sum") == 0.42
    parts = {"vad_wait": 0.384, "queue": 0.01, "decode": 0.22, "turn_model": 0.096}
    for part, seconds in parts.items():
        assert value("final_part_seconds_sum", part=part) == seconds
        assert value("final_part_seconds_count", part=part) == 2
    assert value("final_batch_size_sum") == 6
