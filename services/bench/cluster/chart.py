"""The picture: how long things take, who was hit by faults and for how long, and what grows."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from services.bench.cluster.results import ClusterBench, Fault, Load, Soak

_BLUE, _ORANGE, _GREY, _RED = "#1f5fa8", "#d9792b", "#8a8f98", "#b3261e"


def draw_cluster(result: ClusterBench, path: Path) -> None:
    """Write a PNG; a panel for each part that was run."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawings: list[Callable[[Any], None]] = []
    if result.load is not None:
        drawings.append(partial(_draw_load, load=result.load))
    if faults := [each for each in result.faults if each.accounts]:
        drawings.append(partial(_draw_faults, faults=faults))
    if result.soak is not None:
        drawings.append(partial(_draw_soak, soak=result.soak))
    count = max(1, len(drawings))
    figure = Figure(figsize=(1 + 5.5 * count, 4.8), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    for axes, draw in zip(figure.subplots(1, count, squeeze=False)[0], drawings, strict=False):
        draw(axes)
    setup, machine = result.setup, result.machine
    figure.suptitle(
        f"{setup['cluster']}, {setup['engine']} engines\n"
        f"{machine['cpu']}, {machine['cores']} cores ({result.date[:10]})",
        fontsize=10,
    )
    figure.savefig(path)


def _draw_load(axes: Any, load: Load) -> None:
    spreads = {
        "flush → final": load.accounts.flush_to_final_ms,
        "flush → first audio": load.accounts.flush_to_audio_ms,
        "callers late": load.lateness_ms,
    }
    if load.pings is not None:
        spreads["ping through nginx"] = load.pings.through_nginx_ms
        spreads["ping without nginx"] = load.pings.direct_ms
    for offset, (name, color) in enumerate((("p50", _BLUE), ("p99", _ORANGE))):
        values = [getattr(each, name) or 0.0 for each in spreads.values()]
        places = [at + 0.38 * (offset - 0.5) for at in range(len(spreads))]
        drawn = axes.barh(places, values, 0.36, color=color, label=name)
        axes.bar_label(drawn, fmt="%.1f", fontsize=8, padding=3)
    axes.set_yticks(range(len(spreads)), list(spreads))
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set_xlabel("ms")
    axes.set_title(f"{load.accounts.callers} conversations, {load.seconds:g} s", fontsize=10)
    axes.legend(frameon=False, fontsize=8)


def _draw_faults(axes: Any, faults: list[Fault]) -> None:
    places = range(len(faults))
    back = [(each.back_ms.max or 0.0) / 1000 if each.back_ms else 0.0 for each in faults]
    drawn = axes.barh(places, back, 0.5, color=[_RED if each.losses else _BLUE for each in faults])
    labels = [
        f"{seconds:.2f} s, {each.touched} callers" if each.touched else "no session lost"
        for seconds, each in zip(back, faults, strict=True)
    ]
    axes.bar_label(drawn, labels, fontsize=8, padding=3)
    axes.set_yticks(places, [each.name for each in faults])
    axes.invert_yaxis()
    axes.margins(x=0.35)
    axes.set_xlabel("s until the last session went on")
    axes.set_title("Faults (red: more was lost than may be)", fontsize=10)


def _draw_soak(axes: Any, soak: Soak) -> None:
    for process, points in soak.series.items():
        axes.plot([at / 60 for at, *_ in points], [mb for _, mb, *_ in points], label=process)
    axes.axvline(soak.warm_up_minutes, color=_GREY, linestyle=":", label="warm")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("minutes")
    axes.set_ylabel("resident MB")
    axes.set_title(f"Memory, {soak.accounts.callers} conversations", fontsize=10)
    axes.legend(frameon=False, fontsize=8)
