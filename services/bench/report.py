"""Results for people."""

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
from services.bench.results import BenchResult, LevelResult, Wer


def show(result: BenchResult, console: Console) -> None:
    """Print the whole result."""
    console.print(Group(_heading(result), _table(result), *_footer(result)))


def _heading(result: BenchResult) -> Text:
    setup = result.setup
    return Text(
        f"{machine_line(result.machine)} {setup['recordings']} recordings as {setup['encoding']} "
        f"at {setup['sample_rate']} Hz, seed {setup['seed']}."
    )


def _table(result: BenchResult) -> Table:
    heads = [str(level.concurrency) for level in result.levels]
    return level_table("callers at once", heads, [_rows(level) for level in result.levels])


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
        "end of speech → final, p50/p95/p99 ms": spread(level.final_ms),
        "speech → first partial, p50/p95/p99 ms": spread(level.first_partial_ms),
        "between partials, p50/p95/p99 ms": spread(level.partial_gap_ms),
        "partial words changed per word": number(level.flicker),
    }


def _turns(level: LevelResult) -> dict[str, str]:
    return {
        "turns cut / merged": f"{level.cut} / {level.merged}",
        "turns in pauses (words)": f"{level.in_pauses} ({level.in_pauses_words})",
        "finals missing / unended / suppressed": (
            f"{level.missing} / {level.unended} / {level.suppressed}"
        ),
        "stable text retracted": str(level.retractions),
        "audio lost, ms": number(level.lost_audio_ms),
        "calls failed": str(len(level.call_errors)),
    }


def _timings(level: LevelResult) -> dict[str, str]:
    timings = level.timings
    if timings is None:
        return {}
    return {
        "service: silence awaited, ms": number(timings.vad_wait_ms),
        "service: queue / decode, ms": f"{timings.queue_ms:.0f} / {timings.decode_ms:.0f}",
        "service: turn model, ms": number(timings.turn_model_ms),
        "service: total, ms": number(timings.total_ms),
        "service: batch": f"{timings.batch_size:.2f}",
        "service: decoded early": f"{100 * timings.speculative_share:.0f} %",
    }


def _load(level: LevelResult) -> dict[str, str]:
    late = level.lateness_ms
    return {
        **service_rows(level.load),
        "event-loop lag, p99 ms": number(level.load.loop_lag_p99_ms),
        "generator late, p99 / max ms": f"{number(late.p99)} / {number(late.max)}",
        **other_rows(level.load),
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
