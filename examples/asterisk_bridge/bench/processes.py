"""What the programs of a stack take: processor time, files, threads, memory."""

import os
from collections.abc import Mapping

import psutil

PHONES = "phones"
"""This process."""


def cpu_seconds(pids: Mapping[str, int]) -> dict[str, float]:
    """So far, of each with its children; of ourselves; and of all else on this machine."""
    used = {name: sum(_busy(each) for each in family(pid)) for name, pid in pids.items()}
    used[PHONES] = _busy(psutil.Process())
    whole = psutil.cpu_times()
    busy = sum(whole) - whole.idle - getattr(whole, "iowait", 0.0)
    # Linux counts guests within user time, once more.
    busy -= getattr(whole, "guest", 0.0) + getattr(whole, "guest_nice", 0.0)
    return used | {"others": max(0.0, busy - sum(used.values()))}


def shares(
    before: Mapping[str, float], after: Mapping[str, float], seconds: float
) -> dict[str, float]:
    """Percent of one core."""
    return {name: round(100 * (after[name] - before[name]) / seconds, 1) for name in before}


def holdings(pids: Mapping[str, int]) -> dict[str, float]:
    """Files (sockets are some), threads and megabytes of each, as `name.what`."""
    held: dict[str, float] = {}
    families = {name: family(pid) for name, pid in pids.items()}
    families[PHONES] = [psutil.Process(os.getpid())]
    for name, processes in families.items():
        held[f"{name}.files"] = sum(each.num_fds() for each in processes)
        held[f"{name}.threads"] = sum(each.num_threads() for each in processes)
        held[f"{name}.mb"] = round(sum(each.memory_info().rss for each in processes) / 1e6, 1)
    return held


def family(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _busy(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return times.user + times.system
