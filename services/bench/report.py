"""Results for people (a table) and for programs (JSON)."""

from pathlib import Path

from rich import box
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from services.bench.results import BenchResult, LevelResult, Spread, Wer


def write_json(result: BenchResult, path: Path) -> None:
    path.write_text(result.model_dump_json(indent=1) + "\n", encoding="utf-8")


def show(result: BenchResult, console: Console) -> None:
    """Print the whole result."""
    console.print(Group(_heading(result), _table(result), *_footer(result)))


def _heading(result: BenchResult) -> Text:
    machine, setup = result.machine, result.setup
    return Text(
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB; load before: "
        f"{machine['load_before']}. {setup['recordings']} recordings as {setup['encoding']} "
        f"at {setup['sample_rate']} Hz, seed {setup['seed']}."
    )


def _table(result: BenchResult) -> Table:
    table = Table(box=box.SIMPLE, pad_edge=False)
    table.add_column("callers at once")
    for level in result.levels:
        table.add_column(str(level.concurrency), justify="right")
    columns = [_rows(level) for level in result.levels]
    for name in columns[0]:
        table.add_row(name, *(column[name] for column in columns))
    return table


def _rows(level: LevelResult) -> dict[str, str]:
    return {**_quality(level), **_speed(level), **_turns(level), **_timings(level), **_load(level)}


def _quality(level: LevelResult) -> dict[str, str]:
    offline = {f"  offline, {beam}": _percent(wer) for beam, wer in level.offline_wer.items()}
    return {
        "utterances": str(level.utterances),
        "WER": _percent(level.wer),
        **offline,
    }


def _speed(level: LevelResult) -> dict[str, str]:
    return {
        "end of speech → final, p50/p95/p99 ms": _spread(level.final_ms),
        "speech → first partial, p50/p95/p99 ms": _spread(level.first_partial_ms),
        "between partials, p50/p95/p99 ms": _spread(level.partial_gap_ms),
        "partial words changed per word": _number(level.flicker),
    }


def _turns(level: LevelResult) -> dict[str, str]:
    return {
        "turns cut / merged": f"{level.cut} / {level.merged}",
        "turns in pauses (words)": f"{level.in_pauses} ({level.in_pauses_words})",
        "finals missing / unended / suppressed": (
            f"{level.missing} / {level.unended} / {level.suppressed}"
        ),
        "stable text retracted": str(level.retractions),
        "audio lost, ms": _number(level.lost_audio_ms),
        "calls failed": str(len(level.call_errors)),
    }


def _timings(level: LevelResult) -> dict[str, str]:
    timings = level.timings
    if timings is None:
        return {}
    return {
        "service: silence awaited, ms": _number(timings.vad_wait_ms),
        "service: queue / decode, ms": f"{timings.queue_ms:.0f} / {timings.decode_ms:.0f}",
        "service: turn model, ms": _number(timings.turn_model_ms),
        "service: total, ms": _number(timings.total_ms),
        "service: batch": f"{timings.batch_size:.2f}",
        "service: decoded early": f"{100 * timings.speculative_share:.0f} %",
    }


def _load(level: LevelResult) -> dict[str, str]:
    load = level.load
    return {
        "service CPU, mean / peak %": f"{_number(load.cpu_percent)} / "
        f"{_number(load.cpu_percent_max)}",
        "service memory, mean / peak MB": f"{_number(load.rss_mb)} / {_number(load.rss_mb_max)}",
        "event-loop lag, p99 ms": _number(load.loop_lag_p99_ms),
        "generator late, p99 / max ms": f"{_number(level.lateness_ms.p99)} / "
        f"{_number(level.lateness_ms.max)}",
        "CPU of generator / others, %": f"{load.generator_cpu_percent:.0f} / "
        f"{load.other_cpu_percent:.0f}",
    }


def _footer(result: BenchResult) -> list[Text]:
    lines = []
    if result.offline is not None:
        figures = ", ".join(
            f"{beam}: WER {_percent(wer)}, RTF {result.offline.real_time_factor[beam]:.3f}"
            for beam, wer in result.offline.wer.items()
        )
        lines.append(Text(f"faster-whisper offline, each recording once: {figures}"))
    for level in result.levels:
        if level.losses:
            told = "; ".join([*level.losses, *sorted(set(level.call_errors))[:3]])
            lines.append(Text(f"{level.concurrency} at once: {told}", style="bold red"))
    return lines


def _percent(wer: Wer) -> str:
    return f"{wer.percent:.2f} %"


def _spread(spread: Spread) -> str:
    return " / ".join(_number(value) for value in (spread.p50, spread.p95, spread.p99))


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.0f}" if abs(value) >= 20 or value == int(value) else f"{value:.2f}"
