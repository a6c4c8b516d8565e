"""The picture: latency over load, and word error rates side by side."""

from pathlib import Path
from typing import Any

from services.bench.results import BenchResult

_BLUE, _ORANGE = "#1f5fa8", "#d9792b"
_BARS = (_BLUE, "#8a8f98", "#c3c7cd")


def draw(result: BenchResult, path: Path) -> None:
    """Write a PNG; needs at least one level."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.6), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    latency, errors = figure.subplots(1, 2, width_ratios=(3, 2))
    _draw_latency(latency, result)
    _draw_wer(errors, result)
    machine = result.machine
    figure.suptitle(
        f"Streaming ASR on {machine['cpu']}, {machine['cores']} cores ({result.date[:10]})",
        fontsize=11,
    )
    figure.savefig(path)


def _draw_latency(axes: Any, result: BenchResult) -> None:
    callers = [level.concurrency for level in result.levels]
    finals = [level.final_ms for level in result.levels]
    first = [level.first_partial_ms.p50 for level in result.levels]
    positions = range(len(callers))
    axes.plot(positions, [s.p50 for s in finals], "o-", color=_BLUE, label="final, p50")
    axes.plot(positions, [s.p95 for s in finals], "o--", color=_BLUE, label="final, p95")
    axes.plot(positions, [s.p99 for s in finals], ":", color=_BLUE, alpha=0.6, label="final, p99")
    if any(value is not None for value in first):
        axes.plot(positions, first, "s-", color=_ORANGE, label="first partial, p50")
    for at, spread in zip(positions, finals, strict=True):
        for value in (spread.p50, spread.p95):
            if value is not None:
                axes.annotate(
                    f"{value:.0f}",
                    (at, value),
                    xytext=(0, 6),
                    textcoords="offset points",
                    ha="center",
                    fontsize=8,
                )
    axes.set_xticks(positions, [str(count) for count in callers])
    axes.set_xlabel("callers at once")
    axes.set_ylabel("ms")
    axes.set_ylim(bottom=0)
    axes.margins(x=0.08)
    axes.set_title("End of speech → final; speech → first partial", fontsize=10)
    axes.grid(axis="y", alpha=0.3)
    axes.legend(frameon=False, fontsize=8)


def _draw_wer(axes: Any, result: BenchResult) -> None:
    """Streaming beside offline, both over what was said at that level."""
    levels = result.levels
    beams = list(result.offline.wer) if result.offline is not None else []
    series = [("streaming", [level.wer.percent for level in levels])]
    series += [
        (f"offline, {beam}", [level.offline_wer[beam].percent for level in levels])
        for beam in beams
    ]
    width = 0.8 / len(series)
    for number, (name, values) in enumerate(series):
        places = [at + (number - (len(series) - 1) / 2) * width for at in range(len(levels))]
        drawn = axes.bar(places, values, width, label=name, color=_BARS[number % len(_BARS)])
        axes.bar_label(drawn, fmt="%.1f", fontsize=8, padding=2)
    axes.set_xticks(range(len(levels)), [str(level.concurrency) for level in levels])
    axes.set_xlabel("callers at once")
    axes.set_ylabel("%")
    axes.margins(y=0.25)
    axes.set_title("Word error rate", fontsize=10)
    axes.legend(frameon=False, fontsize=8, loc="upper left")
