"""Does a figure grow over hours? By medians, which spikes do not move. Pure."""

from collections.abc import Sequence

import numpy as np

from services.bench.cluster.results import Trend

_MOST_POINTS = 400
"""More are thinned out: every pair of points counts."""

Series = Sequence[tuple[float, float]]
"""(seconds, value)"""


def slope_of(series: Series) -> float:
    """The median slope of all pairs of points (Theil 1950, Sen 1968), a second; 0 for fewer than
    two."""
    points = np.asarray(series, dtype=np.float64).reshape(-1, 2)
    if len(points) > _MOST_POINTS:
        points = points[np.linspace(0, len(points) - 1, _MOST_POINTS).round().astype(int)]
    first, second = np.triu_indices(len(points), 1)
    times = points[second, 0] - points[first, 0]
    slopes = (points[second, 1] - points[first, 1])[times > 0] / times[times > 0]
    return float(np.median(slopes)) if slopes.size else 0.0


def trend_of(
    process: str,
    what: str,
    series: Series,
    *,
    warm_up_s: float,
    limit_percent: float,
    allowance: float = 0.0,
) -> Trend | None:
    """How a figure moved after the warm-up.

    Args:
        limit_percent: growth over the whole time, against the level at its begin, that is too much.
        allowance: growth below which it is no growth, in the figure's own unit: one thread more
            of three is no leak.

    Returns:
        None when there are too few points to tell.
    """
    kept = [point for point in series if point[0] >= warm_up_s]
    if len(kept) < 10:
        return None
    values = [value for _, value in kept]
    tenth = max(1, len(values) // 10)
    begin, end = float(np.median(values[:tenth])), float(np.median(values[-tenth:]))
    grown = slope_of(kept) * (kept[-1][0] - kept[0][0])
    percent = 100 * grown / begin if begin else (0.0 if grown <= 0 else 100.0)
    return Trend(
        process=process,
        what=what,
        begin=round(begin, 2),
        end=round(end, 2),
        growth_percent=round(percent, 2),
        grows=percent > limit_percent and grown > allowance,
    )
