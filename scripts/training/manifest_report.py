"""What is in a manifest, in figures and in a picture."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scripts.training.selection import Utterance
from scripts.training.splits import Split

_COLOURS = {"train": "#1f5fa8", "validation": "#d9792b", "test": "#8a8f98"}


def statistics(split: Split, left_out: Sequence[tuple[Utterance, str]]) -> dict[str, Any]:
    """Figures for people and for `run_finetune`; hours have four digits, seconds three."""
    heard_in_training = {one.spoken.lower() for one in split.train}
    repeated = [
        one for one in (*split.validation, *split.test) if one.spoken.lower() in heard_in_training
    ]
    reasons: dict[str, list[float]] = {}
    for one, reason in left_out:
        reasons.setdefault(reason, []).append(one.duration)
    return {
        "parts": {name: _of_part(part) for name, part in split.parts().items()},
        "left_out": {
            reason: {"clips": len(found), "hours": _hours(found)}
            for reason, found in sorted(reasons.items())
        },
        "texts_of_validation_and_test_that_training_has_too": len(repeated),
        "characters": dict(
            Counter(char for one in split.train for char in one.spoken.lower()).most_common()
        ),
    }


def _of_part(part: Sequence[Utterance]) -> dict[str, Any]:
    durations = [one.duration for one in part]
    hours = _hours_by_speaker(part)
    return {
        "clips": len(part),
        "hours": _hours(durations),
        "speakers": len(hours),
        "hours_by_speaker": {name: round(value, 4) for name, value in hours.items()},
        "duration_s": _quantiles(durations),
        "letters_per_second": _quantiles([one.rate for one in part]),
    }


def _hours_by_speaker(part: Sequence[Utterance]) -> dict[str, float]:
    """The longest first."""
    hours: dict[str, float] = {}
    for one in part:
        hours[one.speaker] = hours.get(one.speaker, 0.0) + one.duration / 3600
    return dict(sorted(hours.items(), key=lambda pair: -pair[1]))


def _hours(durations: Sequence[float]) -> float:
    return round(sum(durations) / 3600, 4)


def _quantiles(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {}
    names = {"min": 0, "p5": 5, "p50": 50, "p95": 95, "max": 100}
    found = np.percentile(values, list(names.values()))
    return {name: round(float(value), 3) for name, value in zip(names, found, strict=True)}


def draw(split: Split, left_out: Sequence[tuple[Utterance, str]], path: Path) -> None:
    """Write a PNG: durations, speech rates, hours by speaker, what was left out."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    (durations, rates), (speakers, reasons) = figure.subplots(2, 2)
    _histogram(durations, split, "duration", "Duration, s")
    _histogram(rates, split, "rate", "Letters a second")
    _draw_speakers(speakers, split)
    _draw_reasons(reasons, left_out)
    figure.savefig(path)


def _histogram(axes: Any, split: Split, attribute: str, title: str) -> None:
    for name, part in split.parts().items():
        values = [getattr(one, attribute) for one in part]
        weights = np.full(len(values), 100 / max(1, len(values)))
        axes.hist(
            values, bins=30, weights=weights, histtype="step", label=name, color=_COLOURS[name]
        )
    axes.set_ylabel("% of the part's clips")
    axes.set_title(title, fontsize=10)
    axes.legend(frameon=False, fontsize=8)


def _draw_speakers(axes: Any, split: Split) -> None:
    """Speakers by hours, the longest first; names would not fit."""
    for name, part in split.parts().items():
        ordered = list(_hours_by_speaker(part).values())
        axes.plot(range(1, len(ordered) + 1), ordered, "o-", label=name, color=_COLOURS[name])
    axes.set_xlabel("speakers, by hours")
    axes.set_ylabel("hours")
    axes.set_title("Hours of each speaker", fontsize=10)


def _draw_reasons(axes: Any, left_out: Sequence[tuple[Utterance, str]]) -> None:
    reasons = Counter(reason for _, reason in left_out).most_common()
    axes.set_title("Left out, clips", fontsize=10)
    if not reasons:
        axes.text(0.5, 0.5, "none", ha="center", va="center")
        axes.set_axis_off()
        return
    drawn = axes.barh([name for name, _ in reasons], [count for _, count in reasons])
    axes.bar_label(drawn, fontsize=8, padding=2)
    axes.margins(x=0.15)
