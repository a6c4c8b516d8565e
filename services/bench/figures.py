"""Figures as people read them, alike for both services."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table

from services.bench.results import ServiceLoad, Spread


def machine_line(machine: Mapping[str, Any]) -> str:
    """Where it was measured."""
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB; load before: "
        f"{machine['load_before']}."
    )


def level_table(title: str, heads: Sequence[str], columns: Sequence[Mapping[str, str]]) -> Table:
    """One column a level; its rows by name, the same in all of them."""
    table = Table(box=box.SIMPLE, pad_edge=False)
    table.add_column(title)
    for head in heads:
        table.add_column(head, justify="right")
    for name in columns[0] if columns else ():
        table.add_row(name, *(column[name] for column in columns))
    return table


def service_rows(load: ServiceLoad, decimals: int = 2) -> dict[str, str]:
    """What the service took."""
    cpu, cpu_max, memory, memory_max = (
        number(value, decimals)
        for value in (load.cpu_percent, load.cpu_percent_max, load.rss_mb, load.rss_mb_max)
    )
    return {
        "service CPU, mean / peak %": f"{cpu} / {cpu_max}",
        "service memory, mean / peak MB": f"{memory} / {memory_max}",
    }


def other_rows(load: ServiceLoad) -> dict[str, str]:
    """What everything else took."""
    others = f"{load.generator_cpu_percent:.0f} / {load.other_cpu_percent:.0f}"
    return {"CPU of generator / others, %": others}


def spread(values: Spread, decimals: int = 2) -> str:
    """p50 / p95 / p99."""
    return " / ".join(number(value, decimals) for value in (values.p50, values.p95, values.p99))


def number(value: float | None, decimals: int = 2) -> str:
    """Decimals for small numbers only."""
    if value is None:
        return "–"
    whole = abs(value) >= 20 or value == int(value)
    return f"{value:.0f}" if whole else f"{value:.{decimals}f}"
