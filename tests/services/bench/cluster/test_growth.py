"""Leaks are found, and noise is not taken for one."""

import random

from services.bench.cluster.growth import slope_of, trend_of


def series(level: float, slope: float, noise: float, count: int = 120) -> list[tuple[float, float]]:
    rng = random.Random(1)
    return [(30.0 * at, level + slope * 30 * at + rng.gauss(0, noise)) for at in range(count)]


def judge(points: list[tuple[float, float]], allowance: float = 0.0) -> bool:
    trend = trend_of(
        "asr@1", "memory", points, warm_up_s=300, limit_percent=2.0, allowance=allowance
    )
    assert trend is not None
    return trend.grows


def test_noise_and_spikes_do_not_grow() -> None:
    points = series(200, 0.0, 1.0)
    assert not judge(points)
    for spike in (20, 60, 119):
        points[spike] = (points[spike][0], 900.0)
    assert not judge(points)


def test_a_slow_leak_grows() -> None:
    assert judge(series(200, 10 / 3600, 1.0))  # 5 % an hour


def test_what_is_below_the_limit_does_not() -> None:
    assert not judge(series(200, 2 / 3600, 0.1))  # 1 % an hour


def test_growth_during_the_warm_up_does_not_count() -> None:
    points = [(at, 100 + at) if at < 300 else (at, 400.0) for at, _ in series(0, 0, 0)]
    assert not judge(points)


def test_shrinking_is_no_leak() -> None:
    assert not judge(series(200, -20 / 3600, 1.0))


def test_a_thread_more_is_permitted_where_it_is_said_so() -> None:
    points = [(at, 3.0 if at < 1800 else 4.0) for at, _ in series(0, 0, 0)]
    assert judge(points)
    assert not judge(points, allowance=2.0)


def test_from_nothing_to_something_is_growth() -> None:
    assert judge([(at, at / 100) for at, _ in series(0, 0, 0)])


def test_a_few_points_tell_nothing() -> None:
    points = series(200, 1, 0)[:15]
    assert trend_of("a", "b", points, warm_up_s=300, limit_percent=2.0) is None
    assert slope_of([]) == slope_of([(0.0, 1.0)]) == 0.0
