"""The picture of a TTS benchmark: first audio and holes over load, memory, quality."""

from pathlib import Path
from typing import Any

from services.bench.tts_results import TtsBench, TtsLevel

_BLUE, _ORANGE, _GREY = "#1f5fa8", "#d9792b", "#8a8f98"
_COLOURS = {"tokens": _BLUE, "whole": _ORANGE}


def draw_tts(result: TtsBench, path: Path) -> None:
    """Write a PNG; needs at least one level."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7.6), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    (first, holes), (memory, quality) = figure.subplots(2, 2, width_ratios=(3, 2))
    _draw_first_audio(first, result.levels)
    _draw_holes(holes, result.levels)
    _draw_memory(memory, result.levels)
    _draw_quality(quality, result)
    machine, setup = result.machine, result.setup
    figure.suptitle(
        f"Streaming TTS on {machine['cpu']}, {machine['cores']} cores ({result.date[:10]}); "
        f"talking {100 * setup['talk_share']:.0f} % of the time",
        fontsize=11,
    )
    figure.savefig(path)


def _draw_first_audio(axes: Any, levels: tuple[TtsLevel, ...]) -> None:
    counts = sorted({level.concurrency for level in levels})
    for feed in dict.fromkeys(level.feed for level in levels):
        drawn = [level for level in levels if level.feed == feed]
        places = [counts.index(level.concurrency) for level in drawn]
        spreads = [level.first_audio_ms for level in drawn]
        colour = _COLOURS.get(feed, _GREY)
        axes.plot(places, [s.p50 for s in spreads], "o-", color=colour, label=f"{feed}, p50")
        axes.plot(places, [s.p95 for s in spreads], "o--", color=colour, label=f"{feed}, p95")
        below = feed == "whole"
        for place, spread in zip(places, spreads, strict=True):
            for value in (spread.p50, spread.p95):
                if value is not None:
                    axes.annotate(
                        f"{value:.0f}",
                        (place, value),
                        xytext=(10 if below else -10, 5),
                        textcoords="offset points",
                        ha="center",
                        fontsize=8,
                        color=colour,
                    )
    axes.set_xticks(range(len(counts)), [str(count) for count in counts])
    axes.set_xlabel("listeners at once")
    axes.set_ylabel("ms")
    axes.margins(x=0.12, y=0.15)
    axes.set_ylim(bottom=0)
    axes.set_title("First speakable clause complete → first audio", fontsize=10)
    axes.grid(axis="y", alpha=0.3)
    axes.legend(frameon=False, fontsize=8)


def _draw_holes(axes: Any, levels: tuple[TtsLevel, ...]) -> None:
    """Underruns in per mille of the audio, and interruptions, for each level."""
    names = [f"{level.concurrency}\n{level.feed}" for level in levels]
    places = range(len(levels))
    cancel = [level.cancel_ms.p99 or 0.0 for level in levels]
    free = [level.counts.engine_free_p99_ms or 0.0 for level in levels]
    left = axes.bar([at - 0.2 for at in places], cancel, 0.38, label="→ cancelled", color=_BLUE)
    right = axes.bar([at + 0.2 for at in places], free, 0.38, label="→ engine free", color=_GREY)
    for bars in (left, right):
        axes.bar_label(bars, fmt="%.0f", fontsize=8, padding=2)
    labels = [
        f"{name}\n{level.underruns} underruns" for name, level in zip(names, levels, strict=True)
    ]
    axes.set_xticks(places, labels, fontsize=8)
    axes.set_ylabel("ms")
    axes.margins(y=0.3)
    axes.set_title("Cancel, p99; underruns in real-time playback", fontsize=10)
    axes.legend(frameon=False, fontsize=8, loc="upper left")


def _draw_memory(axes: Any, levels: tuple[TtsLevel, ...]) -> None:
    before = 0.0
    for level in levels:
        if level.memory is None:
            continue
        seconds, mb = zip(*level.memory.series, strict=True)
        growth = level.memory.mb_per_1000
        name = f"{level.concurrency} {level.feed}"
        name += "" if growth is None else f": {growth:+.1f} MB/1000"
        axes.plot([before + at for at in seconds], mb, label=name)
        before += seconds[-1]
    axes.margins(y=0.15)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("seconds")
    axes.set_ylabel("MB")
    axes.set_title("Memory of the service", fontsize=10)
    axes.grid(axis="y", alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8, loc="lower right")


def _draw_quality(axes: Any, result: TtsBench) -> None:
    quality = result.quality
    opinions = [each.mos for each in quality.sentences if each.mos is not None] if quality else []
    if quality is None:
        axes.text(0.5, 0.5, "not measured", ha="center", va="center", color=_GREY)
        axes.set_axis_off()
        return
    axes.hist(opinions, bins=20, range=(1, 5), color=_BLUE)
    axes.set_xlabel("DNSMOS, overall (1 to 5)")
    axes.set_ylabel("sentences")
    axes.set_title(f"Quality; WER {quality.wer.percent:.1f} % by {quality.asr_model}", fontsize=10)
