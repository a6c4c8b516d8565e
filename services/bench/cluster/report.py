"""Cluster results for people."""

from collections.abc import Iterator
from functools import partial

from rich import box
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from services.bench.cluster.results import Accounts, ClusterBench, Fault, Load, Soak
from services.bench.figures import level_table, machine_line
from services.bench.figures import number as any_number
from services.bench.figures import spread as any_spread

_number = partial(any_number, decimals=1)
_spread = partial(any_spread, decimals=1)


def show_cluster(result: ClusterBench, console: Console) -> None:
    """Print the whole result."""
    console.print(Group(_heading(result), *_parts(result), *_losses(result)))


def _heading(result: ClusterBench) -> Text:
    setup = result.setup
    return Text(
        f"{machine_line(result.machine)} {setup['cluster']}, {setup['engine']} engines, "
        f"{setup['recordings']} recordings, seed {setup['seed']}."
    )


def _parts(result: ClusterBench) -> Iterator[Table]:
    if result.load is not None:
        rows = {**_accounts(result.load.accounts), **_speed(result.load), **_machine(result.load)}
        yield level_table("load", [f"{result.load.accounts.callers} callers"], [rows])
    if result.faults:
        yield _fault_table(result.faults)
    if result.soak is not None:
        rows = {
            **_accounts(result.soak.accounts),
            "callers late, p50/p95/p99 ms": _spread(result.soak.lateness_ms),
            "sessions lost": str(result.soak.outages),
        }
        yield level_table("soak", [f"{result.soak.minutes:g} minutes"], [rows])
        yield _trend_table(result.soak)


def _accounts(accounts: Accounts) -> dict[str, str]:
    return {
        "utterances; with exactly one final": f"{accounts.utterances}; {accounts.answered}",
        "replies; spoken whole": f"{accounts.replies}; {accounts.spoken}",
        "crossed / doubled / partly heard": (
            f"{accounts.crossed} / {accounts.doubled} / {accounts.partly}"
        ),
        "said again / asked again (broken off)": (
            f"{accounts.said_again} / {accounts.asked_again} ({accounts.broken_off})"
        ),
        "cut in two / parts that came late": f"{accounts.cut} / {accounts.late}",
        "wrong length / ms dropped": f"{accounts.wrong_length} / {accounts.dropped_ms}",
        "holes in the sound": str(accounts.underruns),
        "refused, tried again": str(accounts.refused),
        "flush → final, p50/p95/p99 ms": _spread(accounts.flush_to_final_ms),
        "flush → first audio, p50/p95/p99 ms": _spread(accounts.flush_to_audio_ms),
    }


def _speed(load: Load) -> dict[str, str]:
    pings = load.pings
    rows = {"callers late, p50/p95/p99 ms": _spread(load.lateness_ms)}
    if pings is not None:
        rows["ping through nginx, p50/p95/p99 ms"] = _spread(pings.through_nginx_ms)
        rows["ping without nginx, p50/p95/p99 ms"] = _spread(pings.direct_ms)
    return rows


def _machine(load: Load) -> dict[str, str]:
    lags = load.loop_lag_p99_ms
    return {
        "sessions lost": str(load.outages),
        "event-loop lag, p99 ms": ", ".join(f"{name} {lag:g}" for name, lag in lags.items()) or "–",
        "processor, % of a core": ", ".join(
            f"{name} {share:.0f}" for name, share in load.cpu_percent.items()
        ),
    }


def _fault_table(faults: tuple[Fault, ...]) -> Table:
    table = Table(box=box.SIMPLE, pad_edge=False)
    for head in (
        "fault",
        "hit",
        "what clients saw",
        "back, max ms",
        "said / asked again",
        "others",
    ):
        table.add_column(head, overflow="fold")
    for fault in faults:
        table.add_row(*_fault_row(fault))
    return table


def _fault_row(fault: Fault) -> tuple[str, ...]:
    if fault.skipped is not None or fault.accounts is None or fault.untouched is None:
        return fault.name, "–", f"SKIPPED: {fault.skipped}", "–", "–", "–"
    seen = [f"{count}× {what}" for what, count in fault.seen.items()] or ["nothing"]
    others = fault.untouched
    return (
        fault.name,
        str(fault.hit),
        "\n".join([*seen, *fault.notes]),
        _number(fault.back_ms.max if fault.back_ms else None),
        f"{fault.accounts.said_again} / {fault.accounts.asked_again} ({fault.accounts.broken_off})",
        f"{others.callers}: final {_number(others.flush_to_final_ms.p99)}, "
        f"audio {_number(others.flush_to_audio_ms.p99)} ms (p99)",
    )


def _trend_table(soak: Soak) -> Table:
    table = Table(box=box.SIMPLE, pad_edge=False)
    for head in ("process", "figure", "begin", "end", "growth"):
        table.add_column(head, justify="left" if head in ("process", "figure") else "right")
    for trend in soak.trends:
        table.add_row(
            trend.process,
            trend.what,
            _number(trend.begin),
            _number(trend.end),
            f"{trend.growth_percent:+.2f} %",
            style="bold red" if trend.grows else None,
        )
    return table


def _losses(result: ClusterBench) -> Iterator[Text]:
    for name, part in (("load", result.load), ("soak", result.soak)):
        if part is not None and part.losses:
            yield Text(f"{name}: " + "; ".join(part.losses), style="bold red")
    for fault in result.faults:
        if fault.skipped is not None:
            yield Text(f"{fault.name}: SKIPPED, {fault.skipped}", style="bold yellow")
        elif fault.losses:
            yield Text(f"{fault.name}: " + "; ".join(fault.losses), style="bold red")
