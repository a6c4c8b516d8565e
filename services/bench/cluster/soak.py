"""The same callers for an hour: nothing may be lost, and nothing may grow."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain

from services.bench.cluster.accounts import account
from services.bench.cluster.crowd import crowd
from services.bench.cluster.growth import Series, trend_of
from services.bench.cluster.instances import Cluster
from services.bench.cluster.manner import Manner
from services.bench.cluster.plan import ClusterPlan
from services.bench.cluster.results import Soak, Trend
from services.bench.cluster.speech import Utterance
from services.bench.cluster.watch import Sample, Watch
from services.bench.results import Spread

LIMIT_PERCENT = 2.0
_WARM_UP = 0.2
"""Of the time; caches and pools fill in it."""
_CALL_S = 180.0
"""Calls are as long as calls are: what a session may keep at most is not what leaks."""
_SAMPLES = 360
_POINTS = 200
_ALLOWED = {"descriptors": 3.0, "threads": 2.0, "tasks": 5.0, "lateness": 250.0}
"""Growth that means nothing in so small numbers: a connection that is just being closed."""


async def run_soak(
    plan: ClusterPlan,
    cluster: Cluster,
    manner: Manner,
    repertoires: list[list[Utterance]],
    say: Callable[[str], None],
) -> Soak:
    """Let all callers talk for `plan.soak_minutes`, and watch."""
    seconds = plan.soak_minutes * 60
    watch = Watch(cluster)
    every_s = max(1.0, seconds / _SAMPLES)
    manner = replace(manner, call_s=_CALL_S)
    async with (
        crowd(manner, repertoires[: plan.callers], plan.seed) as people,
        watch.measuring(every_s),
    ):
        for tenth in range(1, 11):
            await asyncio.sleep(seconds / 10)
            turns = sum(len(diary.turns) for diary in people.diaries)
            say(f"soak: {tenth * plan.soak_minutes / 10:g} minutes, {turns} utterances")
    usage = watch.usage
    assert usage is not None
    warm_up_s = seconds * _WARM_UP
    return Soak(
        minutes=plan.soak_minutes,
        warm_up_minutes=round(warm_up_s / 60, 2),
        limit_percent=LIMIT_PERCENT,
        accounts=account(people.diaries, exact=plan.exact),
        outages=sum(len(diary.outages) for diary in people.diaries),
        lateness_ms=Spread.of_seconds(
            chain.from_iterable(diary.lateness_s for diary in people.diaries)
        ),
        cpu_percent=usage.cpu_percent,
        trends=tuple(trends_of(watch.series, warm_up_s)),
        series={name: _thinned(samples) for name, samples in watch.series.items()},
    )


def trends_of(series: Mapping[str, Sequence[Sample]], warm_up_s: float) -> Iterator[Trend]:
    """How every figure of every process moved."""
    for process, samples in series.items():
        allowed = _ALLOWED | {"jobs waiting": _one_for_each_session(samples)}
        for what, values in _figures(samples).items():
            trend = trend_of(
                process,
                what,
                values,
                warm_up_s=warm_up_s,
                limit_percent=LIMIT_PERCENT,
                allowance=allowed.get(what, 0.0),
            )
            if trend is not None:
                yield trend


def _one_for_each_session(samples: Sequence[Sample]) -> float:
    """The newest audio of each caller waits up to 10 ms for the others': how much of it is seen
    waiting follows what else the machine does. A backlog is more than that, and shows as lateness.
    """
    return float(max((each.sessions for each in samples), default=0))


def _figures(samples: Sequence[Sample]) -> dict[str, Series]:
    figures: dict[str, Series] = {
        "memory": [(each.at_s, each.rss_mb) for each in samples],
        "descriptors": [(each.at_s, each.fds) for each in samples],
        "threads": [(each.at_s, each.threads) for each in samples],
        "jobs waiting": [(each.at_s, each.queued) for each in samples],
    }
    told = [(each.at_s, float(each.tasks)) for each in samples if each.tasks is not None]
    late = [(each.at_s, 1000 * each.late_s) for each in samples if each.late_s is not None]
    return figures | ({"tasks": told} if told else {}) | ({"lateness": late} if late else {})


def _thinned(samples: Sequence[Sample]) -> tuple[tuple[float, float, int, int, float], ...]:
    step = max(1, len(samples) // _POINTS)
    return tuple(
        (each.at_s, round(each.rss_mb, 1), each.fds, each.threads, each.queued)
        for each in samples[::step]
    )
