"""What of a soak's figures counts as growth."""

from collections.abc import Callable
from itertools import cycle

import pytest

from services.bench.cluster.soak import trends_of
from services.bench.cluster.watch import Sample

WARM_UP_S = 720.0
COUNT = 360
_WAVE = cycle((0, 0, 13, 40, 2))


def sample(
    minute: float, queued: float = 0.0, late_s: float = 0.0, rss_mb: float = 100.0
) -> Sample:
    return Sample(
        at_s=60 * minute,
        rss_mb=rss_mb,
        fds=50,
        threads=10,
        queued=queued,
        sessions=40,
        tasks=400,
        late_s=late_s,
    )


@pytest.mark.parametrize(
    ("at", "grows"),
    [
        (lambda minute: sample(minute), set()),
        # What is seen waiting of 40 callers, on a machine that gets something else to do.
        (lambda minute: sample(minute, queued=next(_WAVE) if minute > 30 else 0), set()),
        (lambda minute: sample(minute, queued=3 * minute), {"jobs waiting"}),
        (lambda minute: sample(minute, late_s=minute / 100), {"lateness"}),
        (lambda minute: sample(minute, late_s=0.2 if minute > 50 else 0.0), set()),
        (lambda minute: sample(minute, rss_mb=100 + minute / 20), {"memory"}),
        (lambda minute: sample(minute, rss_mb=100 + minute / 40), set()),
    ],
)
def test_growth_is_what_goes_on(at: Callable[[float], Sample], grows: set[str]) -> None:
    series = {"asr@1": [at(index / 6) for index in range(COUNT)]}
    assert {each.what for each in trends_of(series, WARM_UP_S) if each.grows} == grows
