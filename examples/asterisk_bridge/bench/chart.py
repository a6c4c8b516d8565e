"""The picture of a call benchmark: what the caller waits for, and where the time goes."""

from pathlib import Path
from typing import Any

from examples.asterisk_bridge.bench.results import CallBench, CallLevel

_BLUE, _ORANGE, _GREEN, _GREY = "#1f5fa8", "#d9792b", "#3b8f5a", "#8a8f98"
_MOMENTS = (
    ("pending_ms", "text, if it is the end", _GREY),
    ("ready_ms", "first audio is there", _ORANGE),
    ("final_ms", "end of turn", _GREEN),
    ("wire_ms", "audio on the line", _BLUE),
)


def draw_calls(result: CallBench, path: Path) -> None:
    """Write a PNG; needs at least one level."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7.2), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    (answers, others), (moments, compared) = figure.subplots(2, 2, width_ratios=(3, 2))
    _draw_answers(answers, result.levels)
    _draw_others(others, result.levels)
    _draw_moments(moments, result.levels)
    _draw_compared(compared, result.levels)
    machine, setup = result.machine, result.setup
    figure.suptitle(
        f"Calls through Asterisk on {machine['cpu']}, {machine['cores']} cores "
        f"({result.date[:10]}); language model: {setup.get('llm', 'unknown')}",
        fontsize=11,
    )
    figure.savefig(path)


def _draw_answers(axes: Any, levels: tuple[CallLevel, ...]) -> None:
    """Each answer a dot, the shares of answers that came by then a line."""
    colours = (_BLUE, _ORANGE, _GREEN, _GREY)
    for number, level in enumerate(levels):
        times = sorted(a.answer_ms for c in level.calls for a in c.answers if a.answer_ms)
        if not times:
            continue
        shares = [100 * (at + 1) / len(times) for at in range(len(times))]
        p50 = level.answer_ms.p50
        label = f"{level.concurrency} at once, p50 {p50:.0f} ms" if p50 else None
        axes.plot(times, shares, ".-", color=colours[number % 4], label=label, markersize=5)
    axes.axvline(800, color=_GREY, linestyle=":", linewidth=1)
    axes.set_xlim(left=0)
    axes.set_ylim(0, 102)
    axes.set_xlabel("ms")
    axes.set_ylabel("% of answers")
    axes.set_title("End of the caller's speech → sound of the answer (recordings)", fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=8, loc="lower right")


def _draw_others(axes: Any, levels: tuple[CallLevel, ...]) -> None:
    spreads = {
        "interruption → silence, p95": [level.silence_ms.p95 for level in levels],
        "answered → greeting, p95": [level.greeting_ms.p95 for level in levels],
    }
    width = 0.8 / len(spreads)
    for place, ((name, values), colour) in enumerate(
        zip(spreads.items(), (_ORANGE, _GREEN), strict=True)
    ):
        at = [x + (place - 0.5) * width for x in range(len(levels))]
        bars = axes.bar(at, [value or 0 for value in values], width, label=name, color=colour)
        axes.bar_label(bars, fmt="%.0f", fontsize=8, padding=2)
    axes.axhline(300, color=_GREY, linestyle=":", linewidth=1)
    _by_level(axes, levels)
    axes.margins(y=0.25)
    axes.set_title("Interruption and greeting (recordings)", fontsize=10)
    axes.legend(frameon=False, fontsize=8, loc="upper left")


def _draw_moments(axes: Any, levels: tuple[CallLevel, ...]) -> None:
    """When the stages were passed, p50 with p95 behind it."""
    rows = list(reversed(_MOMENTS))
    height = 0.8 / max(1, len(levels))
    for number, level in enumerate(levels):
        for row, (name, _, colour) in enumerate(rows):
            found = getattr(level.stages, name)
            if found.p50 is None:
                continue
            y = row - (number - (len(levels) - 1) / 2) * height
            axes.barh(y, found.p95, height * 0.9, color=colour, alpha=0.25)
            axes.barh(y, found.p50, height * 0.9, color=colour)
            axes.text(
                found.p50, y, f" {level.concurrency}: {found.p50:.0f}", va="center", fontsize=7
            )
    axes.set_yticks(range(len(rows)), [told for _, told, _ in rows], fontsize=8)
    axes.set_xlabel("ms since the end of speech (pale: p95)")
    axes.set_title("Where an answer's time goes (journal)", fontsize=10)


def _draw_compared(axes: Any, levels: tuple[CallLevel, ...]) -> None:
    """Whether the journal tells what the caller heard."""
    pairs = [
        (answer.log_ms, answer.answer_ms)
        for level in levels
        for call in level.calls
        for answer in call.answers
        if answer.log_ms is not None and answer.answer_ms is not None
    ]
    if pairs:
        journal, recording = zip(*pairs, strict=True)
        most = max(*journal, *recording) * 1.05
        axes.plot([0, most], [0, most], color=_GREY, linewidth=1)
        axes.plot(journal, recording, ".", color=_BLUE)
    axes.set_xlabel("ms by the journal")
    axes.set_ylabel("ms by the recording")
    axes.set_title("The same answers, told twice", fontsize=10)


def _by_level(axes: Any, levels: tuple[CallLevel, ...]) -> None:
    axes.set_xticks(range(len(levels)), [str(level.concurrency) for level in levels])
    axes.set_xlabel("calls at once")
    axes.set_ylabel("ms")
