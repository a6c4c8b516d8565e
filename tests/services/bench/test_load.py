import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from services.bench.load import LoadMeter, difference, quantile

INF = float("inf")


def test_quantile_is_linear_within_a_bucket() -> None:
    buckets = {0.001: 50.0, 0.002: 90.0, 0.01: 100.0, INF: 100.0}
    assert quantile(buckets, 0.5) == pytest.approx(0.001)
    assert quantile(buckets, 0.7) == pytest.approx(0.0015)
    assert quantile(buckets, 0.99) == pytest.approx(0.0092)


def test_quantile_beyond_the_last_bound_is_that_bound() -> None:
    assert quantile({1.0: 1.0, INF: 10.0}, 0.99) == 1.0


def test_no_observations_no_quantile() -> None:
    assert quantile({}, 0.5) is None
    assert quantile({1.0: 0.0, INF: 0.0}, 0.5) is None


def test_difference_is_what_happened_in_between() -> None:
    before, after = {1.0: 5.0, INF: 6.0}, {1.0: 15.0, INF: 18.0}
    assert difference(after, before) == {1.0: 10.0, INF: 12.0}
    assert difference(after, {}) == after


@pytest.fixture
def busy_process() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    yield process
    process.kill()
    process.wait()


async def test_meters_a_process(busy_process: subprocess.Popen[bytes]) -> None:
    meter = LoadMeter("http://127.0.0.1:9", busy_process.pid)  # nothing listens: no metrics
    process = psutil.Process(busy_process.pid)
    before, began = process.cpu_times().user, time.monotonic()
    async with meter.measuring():
        await asyncio.sleep(1.2)
    used, took_s = process.cpu_times().user - before, time.monotonic() - began
    load = meter.result
    assert load is not None
    assert load.cpu_percent is not None
    # The machine may be busy with other things.
    assert load.cpu_percent == pytest.approx(100 * used / took_s, rel=0.3, abs=5)
    assert load.rss_mb is not None
    assert load.rss_mb > 1
    assert load.loop_lag_p99_ms is None
