"""What an operator of the ASR service watches, beside what every service has."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from services.asr.messages import Final
from services.shared.runtime.metrics import BATCH_SIZE, LATENCY_S, ModelMetrics

_PARTS = ("vad_wait", "queue", "decode", "turn_model")


class AsrMetrics:
    """What matters to an operator of ASR beyond what every service has."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.models = ModelMetrics(registry)
        self.audio_s = Counter("voice_asr_audio_seconds", "Audio received", registry=registry)
        self.dropped_s = Counter(
            "voice_asr_dropped_audio_seconds", "Audio lost; 0 or a defect", registry=registry
        )
        self.finals = Counter("voice_asr_finals", "Finals sent", ["suppressed"], registry=registry)
        self.finals.labels("no")
        self.parked = Gauge(
            "voice_asr_parked_sessions", "Waiting for their client's return", registry=registry
        )
        self.degradation = Gauge(
            "voice_asr_degradation",
            "0 nothing given up, 1 partials rare, 2 finals only, 3 nobody new let in",
            registry=registry,
        )
        self.late_s = Gauge("voice_asr_late_seconds", "How late finals are", registry=registry)
        self.occupied = Gauge(
            "voice_asr_occupied_ratio",
            "Share of the engine's time that finals need",
            registry=registry,
        )
        self.resumed = Counter("voice_asr_resumed", "Clients that returned", registry=registry)
        self.expired = Counter(
            "voice_asr_expired", "Parked sessions whose client did not return", registry=registry
        )
        self.final_s = Histogram(
            "voice_asr_final_seconds",
            "Last voiced audio received to final sent",
            buckets=LATENCY_S,
            registry=registry,
        )
        self.part_s = Histogram(
            "voice_asr_final_part_seconds",
            "Where the time of a final went; the parts overlap when it was decoded early",
            ["part"],
            buckets=LATENCY_S,
            registry=registry,
        )
        self.batch = Histogram(
            "voice_asr_final_batch_size",
            "Callers decoded together with a final",
            buckets=BATCH_SIZE,
            registry=registry,
        )

    def count(self, final: Final) -> None:
        """A final that was sent; the same figures as in its `timings`."""
        timings = final.timings
        self.finals.labels(final.suppressed or "no").inc()
        self.final_s.observe(timings.total_ms / 1000)
        for part in _PARTS:
            self.part_s.labels(part).observe(getattr(timings, f"{part}_ms") / 1000)
        self.batch.observe(timings.batch_size)
