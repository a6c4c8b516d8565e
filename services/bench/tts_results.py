"""The shape of a TTS benchmark's results, as they stand in the JSON. Durations say their unit."""

from typing import Any

from services.bench.results import Record, ServiceLoad, Spread, Wer


class Memory(Record):
    """Resident memory of the service over a level."""

    start_mb: float
    """Mean over the first tenth of the level, and so on."""
    end_mb: float
    mb_per_1000: float | None
    """Growth over 1000 answers, by least squares over the second half; None for short levels."""
    series: tuple[tuple[float, float], ...]
    """(seconds, MB), at most 200 points."""


class ServiceCounts(Record):
    """What the service counted during the level; None where it does not tell."""

    engine_free_p50_ms: float | None
    """Cancel to the engine being free of that stream."""
    engine_free_p99_ms: float | None
    underruns: int | None
    cache_hits: int | None
    cache_misses: int | None


class Pair(Record):
    """A ratio's distribution."""

    p50: float | None
    p95: float | None


class TtsLevel(Record):
    """One number of simultaneous listeners, one way of feeding them."""

    concurrency: int
    feed: str
    """`tokens` at the language model's pace, or `whole`: all text at once."""
    seconds: float
    answers: int
    completed: int
    audio_s: float
    first_audio_ms: Spread
    """First speakable clause complete to first audio. Negative: spoken before it was complete."""
    from_text_ms: Spread
    """First text sent to first audio."""
    told_first_audio_ms: Spread
    """What the service says of the same answers."""
    underruns: int
    """Holes in the sound of listeners who play from the first sample on."""
    underrun_ms: float
    """All of them together."""
    underruns_unwritten: int
    """Of the underruns, those that began while the text was still being written."""
    answers_with_underruns: int
    real_time_factor: Pair
    """First text to last audio, over the audio's length."""
    cpu_per_audio: float | None
    """Processor seconds of the service for a second of audio."""
    cancelled: int
    cancel_ms: Spread
    """`cancel` sent to `cancelled` received."""
    bytes_after_cancelled: int
    length_error_ms: Spread
    """Audio received against the `audio_ms` that the service told."""
    refused: int
    """Answers that the service declined for the load, with the advice to come back."""
    errors: tuple[str, ...]
    """Of all other answers that failed."""
    counts: ServiceCounts
    load: ServiceLoad
    memory: Memory | None

    @property
    def losses(self) -> list[str]:
        """What must not happen at any load, in words; empty when all is well."""
        counts = {
            "answers refused": self.refused,
            "answers failed": len(self.errors),
            "bytes of audio after cancelled": self.bytes_after_cancelled,
        }
        return [f"{count} {what}" for what, count in counts.items() if count]


class SpokenSentence(Record):
    """One sentence, and what was understood of it."""

    text: str
    heard: str
    errors: int
    audio_s: float
    mos: float | None
    """Overall quality, 1 to 5, as DNSMOS P.835 predicts it."""


class Quality(Record):
    """Intelligibility and sound, sentence by sentence, nothing else running."""

    asr_model: str
    wer: Wer
    mos_mean: float | None
    mos_p5: float | None
    """The worst twentieth."""
    sentences: tuple[SpokenSentence, ...]


class Similarity(Record):
    """How much a cloned voice sounds like its reference, by a speaker encoder."""

    mean: float
    """Cosine, at most 1."""
    p5: float
    """The least similar twentieth."""
    utterances: int


class FormatResult(Record):
    """One file format of `POST /v1/synthesize`."""

    format: str
    sample_rate: int
    """Asked for."""
    audio_ms: float
    error_ms: float
    """Against the same rendition as PCM at the voice's own rate."""


class CacheResult(Record):
    """The same phrase again and again."""

    phrase: str
    miss_ms: float
    """First audio of its first rendition."""
    hit_ms: Spread


class TtsBench(Record):
    """A whole run."""

    date: str
    machine: dict[str, Any]
    setup: dict[str, Any]
    levels: tuple[TtsLevel, ...]
    quality: Quality | None
    similarity: Similarity | None = None
    formats: tuple[FormatResult, ...]
    cache: CacheResult | None
