"""TTS results for people."""

from rich import box
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from services.bench.results import Spread
from services.bench.tts_results import TtsBench, TtsLevel


def show_tts(result: TtsBench, console: Console) -> None:
    """Print the whole result."""
    console.print(Group(_heading(result), _levels(result), *_extras(result), *_losses(result)))


def _heading(result: TtsBench) -> Text:
    machine, setup = result.machine, result.setup
    return Text(
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB; load before: "
        f"{machine['load_before']}. {setup['sentences']} sentences, "
        f"{setup['tokens_per_s']:g} tokens/s, talking {100 * setup['talk_share']:.0f} % of the "
        f"time, seed {setup['seed']}."
    )


def _levels(result: TtsBench) -> Table:
    table = Table(box=box.SIMPLE, pad_edge=False)
    table.add_column("listeners at once, feed")
    for level in result.levels:
        table.add_column(f"{level.concurrency} {level.feed}", justify="right")
    columns = [_rows(level) for level in result.levels]
    for name in columns[0] if columns else ():
        table.add_row(name, *(column[name] for column in columns))
    return table


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
        "service CPU, mean / peak %": f"{_number(load.cpu_percent)} / "
        f"{_number(load.cpu_percent_max)}",
        "service memory, mean / peak MB": f"{_number(load.rss_mb)} / {_number(load.rss_mb_max)}",
        "memory, start → end MB (per 1000)": "–"
        if memory is None
        else f"{memory.start_mb:.0f} → {memory.end_mb:.0f} ({_number(memory.mb_per_1000)})",
        "event-loop lag, p99 ms": _number(load.loop_lag_p99_ms),
        "CPU of generator / others, %": f"{load.generator_cpu_percent:.0f} / "
        f"{load.other_cpu_percent:.0f}",
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


def _spread(spread: Spread) -> str:
    return " / ".join(_number(value) for value in (spread.p50, spread.p95, spread.p99))


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.0f}" if abs(value) >= 20 or value == int(value) else f"{value:.1f}"


def _ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _count(value: int | None) -> str:
    return "–" if value is None else str(value)
