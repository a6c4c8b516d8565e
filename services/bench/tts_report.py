"""TTS results for people."""

from functools import partial

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from services.bench.figures import (
    level_table,
    machine_line,
    number,
    other_rows,
    service_rows,
    spread,
)
from services.bench.tts_results import TtsBench, TtsLevel

_DECIMALS = 1
_number = partial(number, decimals=_DECIMALS)
_spread = partial(spread, decimals=_DECIMALS)


def show_tts(result: TtsBench, console: Console) -> None:
    """Print the whole result."""
    console.print(Group(_heading(result), _levels(result), *_extras(result), *_losses(result)))


def _heading(result: TtsBench) -> Text:
    setup = result.setup
    return Text(
        f"{machine_line(result.machine)} {setup['sentences']} sentences, "
        f"{setup['tokens_per_s']:g} tokens/s, talking {100 * setup['talk_share']:.0f} % of the "
        f"time, seed {setup['seed']}."
    )


def _levels(result: TtsBench) -> Table:
    heads = [f"{level.concurrency} {level.feed}" for level in result.levels]
    return level_table("listeners at once, feed", heads, [_rows(level) for level in result.levels])


def _rows(level: TtsLevel) -> dict[str, str]:
    return {**_speed(level), **_flow(level), **_cancel(level), **_load(level)}


def _speed(level: TtsLevel) -> dict[str, str]:
    return {
        "answers; refused, failed": f"{level.answers}; {level.refused}, {len(level.errors)}",
        "clause complete → first audio, p50/p95/p99 ms": _spread(level.first_audio_ms),
        "first text → first audio, p50/p95/p99 ms": _spread(level.from_text_ms),
        "first audio as told, p50/p95/p99 ms": _spread(level.told_first_audio_ms),
    }


def _flow(level: TtsLevel) -> dict[str, str]:
    factor = level.real_time_factor
    return {
        "underruns (text unwritten), ms": f"{level.underruns} ({level.underruns_unwritten}), "
        f"{_number(level.underrun_ms)}",
        "real-time factor, p50/p95": f"{_ratio(factor.p50)} / {_ratio(factor.p95)}",
        "CPU seconds for a second of audio": _ratio(level.cpu_per_audio),
        "length against told, max ms": _number(level.length_error_ms.max),
    }


def _cancel(level: TtsLevel) -> dict[str, str]:
    counts = level.counts
    return {
        "cancel → cancelled, p50/p95/p99 ms": _spread(level.cancel_ms),
        "cancel → engine free, p50/p99 ms": f"{_number(counts.engine_free_p50_ms)} / "
        f"{_number(counts.engine_free_p99_ms)}",
        "cancelled; bytes after it": f"{level.cancelled}; {level.bytes_after_cancelled}",
        "cache hits / misses": f"{_count(counts.cache_hits)} / {_count(counts.cache_misses)}",
    }


def _load(level: TtsLevel) -> dict[str, str]:
    load, memory = level.load, level.memory
    return {
        **service_rows(load, _DECIMALS),
        "memory, start → end MB (per 1000)": "–"
        if memory is None
        else f"{memory.start_mb:.0f} → {memory.end_mb:.0f} ({_number(memory.mb_per_1000)})",
        "event-loop lag, p99 ms": _number(load.loop_lag_p99_ms),
        **other_rows(load),
    }


def _extras(result: TtsBench) -> list[Text]:
    lines = []
    if (quality := result.quality) is not None:
        mos = ""
        if quality.mos_mean is not None:
            mos = f"; DNSMOS overall {quality.mos_mean:.2f}, worst 5 % {quality.mos_p5:.2f}"
        lines.append(
            Text(
                f"understood by {quality.asr_model}: WER {quality.wer.percent:.2f} % of "
                f"{quality.wer.words} words{mos}"
            )
        )
    if (similar := result.similarity) is not None:
        lines.append(
            Text(
                f"similarity to the reference: mean {similar.mean:.2f}, least similar 5 % "
                f"{similar.p5:.2f} ({similar.utterances} utterances)"
            )
        )
    if (cache := result.cache) is not None:
        lines.append(
            Text(
                f"cache: first audio {_number(cache.miss_ms)} ms anew, "
                f"{_spread(cache.hit_ms)} ms (p50/p95/p99) from the cache"
            )
        )
    if result.formats:
        worst = max(result.formats, key=lambda each: abs(each.error_ms))
        lines.append(
            Text(
                f"formats: {len(result.formats)}, length wrong by at most "
                f"{abs(worst.error_ms):.1f} ms ({worst.format}, {worst.sample_rate} Hz)"
            )
        )
    return lines


def _losses(result: TtsBench) -> list[Text]:
    return [
        Text(
            f"{level.concurrency} {level.feed}: "
            + "; ".join([*level.losses, *sorted(set(level.errors))[:3]]),
            style="bold red",
        )
        for level in result.levels
        if level.losses
    ]


def _ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _count(value: int | None) -> str:
    return "–" if value is None else str(value)
