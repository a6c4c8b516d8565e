"""The shape of a benchmark's results, as they stand in the JSON. Durations say their unit."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from services.bench.wer import WordErrors


class Record(BaseModel):
    """A part of the results."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Spread(Record):
    """A distribution of durations in milliseconds."""

    count: int
    mean: float | None
    p50: float | None
    p95: float | None
    p99: float | None
    max: float | None

    @classmethod
    def of_seconds(cls, seconds: Iterable[float | None]) -> "Spread":
        """Of what is known; None is left out."""
        known = [value for value in seconds if value is not None]
        if not known:
            return cls(count=0, mean=None, p50=None, p95=None, p99=None, max=None)
        ms = np.asarray(known) * 1000
        p50, p95, p99 = (round(float(value), 1) for value in np.percentile(ms, (50, 95, 99)))
        mean, top = round(float(ms.mean()), 1), round(float(ms.max()), 1)
        return cls(count=len(known), mean=mean, p50=p50, p95=p95, p99=p99, max=top)


class Wer(Record):
    """Corpus-level word error rate."""

    percent: float
    words: int
    substitutions: int
    deletions: int
    insertions: int

    @classmethod
    def of(cls, errors: WordErrors) -> "Wer":
        return cls(
            percent=round(100 * errors.rate, 2),
            words=errors.words,
            substitutions=errors.substitutions,
            deletions=errors.deletions,
            insertions=errors.insertions,
        )


class OfflineText(Record):
    """What faster-whisper made of one whole recording."""

    text: str
    errors: int
    seconds: float
    """Computing time."""


class OfflineResult(Record):
    """faster-whisper's own `transcribe`, recording by recording, nothing else running."""

    model: str
    wer: dict[str, Wer]
    """By beam, e.g. `beam 1`."""
    real_time_factor: dict[str, float]
    texts: dict[str, dict[str, OfflineText]]
    """By recording, then by beam."""


class TurnResult(Record):
    """One turn; milliseconds of the call."""

    start_ms: float
    end_ms: float
    arrived_ms: float
    text: str
    finals: int


class PassageResult(Record):
    """What was said and heard; `offline` is the text of beam 1 for the same recordings."""

    caller: int
    recordings: tuple[str, ...]
    speech_ms: tuple[tuple[float, float], ...]
    """True start and end of each recording's speech, milliseconds of the call."""
    reference: str
    streaming: str
    offline: str | None
    errors: int
    offline_errors: int | None
    turns: tuple[TurnResult, ...]
    """One when all is well."""
    final_ms: float | None
    first_partial_ms: float | None
    suppressed: tuple[str, ...]


class ServerTimings(Record):
    """Means of the `timings` of finals that end a turn, as the service tells them."""

    vad_wait_ms: float
    queue_ms: float
    decode_ms: float
    turn_model_ms: float
    total_ms: float
    batch_size: float
    speculative_share: float


class ServiceLoad(Record):
    """The service's process (and its children) during one level; 100 % is one core."""

    cpu_percent: float | None
    cpu_percent_max: float | None
    rss_mb: float | None
    rss_mb_max: float | None
    loop_lag_p99_ms: float | None
    generator_cpu_percent: float
    other_cpu_percent: float
    """Everything else on this machine: over a few percent, the figures are disturbed."""


class LevelResult(Record):
    """One number of simultaneous callers."""

    concurrency: int
    seconds: float
    utterances: int
    wer: Wer
    offline_wer: dict[str, Wer]
    """Of the same utterances, each as often as it was said."""
    final_ms: Spread
    """True end of speech to the final's arrival."""
    first_partial_ms: Spread
    """True start of speech to the first partial's arrival."""
    partial_gap_ms: Spread
    flicker: float | None
    """Words of partials that later changed, per word of the finals."""
    retractions: int
    cut: int
    merged: int
    missing: int
    """Recordings that no final covers."""
    unended: int
    """Turns that were started and never ended."""
    in_pauses: int
    """Turns where nothing was said; with `in_pauses_words` words in them."""
    in_pauses_words: int
    suppressed: int
    lost_audio_ms: float
    call_errors: tuple[str, ...]
    lateness_ms: Spread
    """How late the load generator sent its chunks."""
    timings: ServerTimings | None
    load: ServiceLoad
    passages: tuple[PassageResult, ...]

    @property
    def losses(self) -> list[str]:
        """What must not happen at any load, in words; empty when all is well."""
        counts = {
            "recordings without a final": self.missing,
            "turns never ended": self.unended,
            "stable_text retractions": self.retractions,
            "ms of audio lost": round(self.lost_audio_ms),
            "calls failed": len(self.call_errors),
        }
        return [f"{count} {what}" for what, count in counts.items() if count]


class BenchResult(Record):
    """A whole run."""

    date: str
    machine: dict[str, Any]
    setup: dict[str, Any]
    """Corpus, wire format, seed, extent, where the service came from and its configuration."""
    offline: OfflineResult | None
    levels: tuple[LevelResult, ...]
