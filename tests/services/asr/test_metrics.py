"""What /metrics tells."""

from pathlib import Path

import httpx
from prometheus_client import CollectorRegistry

import services.asr
from services.asr.messages import Final, Timings
from services.asr.metrics import AsrMetrics
from services.asr.recognition_failover import FailoverMetrics
from tests.services import metrics_table
from tests.services.asr.client import session
from tests.services.asr.sounds import pcm, tone
from tests.services.serving import LiveService

README = (Path(services.asr.__path__[0]) / "README.md").read_text(encoding="utf-8")


async def test_the_table_of_the_readme_is_what_the_service_tells(live: LiveService) -> None:
    async with session(live.ws) as caller:
        await caller.audio(pcm(tone(400, 1000)))
        await caller.stop()
    async with httpx.AsyncClient(trust_env=False) as client:
        await client.get(f"{live.http}/nowhere")
    with_failover = CollectorRegistry()
    FailoverMetrics(with_failover)
    told = [*metrics_table.families(live), *with_failover.collect()]
    metrics_table.check(README, told)


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
