"""What matters to an operator of TTS beyond what every service has."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from services.shared.runtime.metrics import LATENCY_S, ModelMetrics

_CANCEL_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.1, 0.2, 0.5, 1)


class TtsMetrics:
    """The service's own metrics, in its registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.models = ModelMetrics(registry)
        self.characters = Counter(
            "voice_tts_characters", "Characters given to engines", registry=registry
        )
        self.audio_s = Counter("voice_tts_audio_seconds", "Audio sent", registry=registry)
        self.first_audio_s = Histogram(
            "voice_tts_first_audio_seconds",
            "Speakable text to first audio, for a listener who hears nothing",
            ["source"],
            buckets=LATENCY_S,
            registry=registry,
        )
        for source in ("engine", "cache"):
            self.first_audio_s.labels(source)
        self.predicted_s = Histogram(
            "voice_tts_first_audio_predicted_seconds",
            "What admission expected of the same listeners",
            buckets=LATENCY_S,
            registry=registry,
        )
        self.underruns = Counter(
            "voice_tts_underruns", "Times that a listener ran dry within speech", registry=registry
        )
        self.underrun_s = Counter(
            "voice_tts_underrun_seconds", "How long listeners ran dry", registry=registry
        )
        self.cancelled = Counter("voice_tts_cancelled", "Contexts cancelled", registry=registry)
        self.cancel_s = Histogram(
            "voice_tts_cancel_seconds",
            "Cancel (or a client gone) until no engine works on the stream any more",
            buckets=_CANCEL_S,
            registry=registry,
        )
        self.engine_restarts = Counter(
            "voice_tts_engine_restarts",
            "Times that an engine's own process was lost and started again",
            ["engine"],
            registry=registry,
        )
        self.cache_hits = Counter(
            "voice_tts_cache_hits", "Segments not synthesised", ["tier"], registry=registry
        )
        for tier in ("memory", "disk", "flight"):  # flight: joined a synthesis under way
            self.cache_hits.labels(tier)
        self.cache_misses = Counter(
            "voice_tts_cache_misses", "Segments that were not in the cache", registry=registry
        )
        self.cache_bytes = Gauge(
            "voice_tts_cache_bytes", "What the cache holds", ["tier"], registry=registry
        )
        self.cache_entries = Gauge(
            "voice_tts_cache_entries", "Phrases in the cache", ["tier"], registry=registry
        )
