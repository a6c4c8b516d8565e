"""What is done to a cluster while callers talk, and what of it they should see."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from services.bench.cluster.accounts import account, back_after, seen_in
from services.bench.cluster.crowd import crowd, spread_s
from services.bench.cluster.instances import Cluster
from services.bench.cluster.manner import Manner
from services.bench.cluster.network import CannotBeDone
from services.bench.cluster.plan import ClusterPlan
from services.bench.cluster.records import Diary, Outage, Side
from services.bench.cluster.results import Accounts, Fault
from services.bench.cluster.speech import Utterance
from services.bench.results import Spread

BACK_WITHIN_S = 2.0
_SETTLE_S = 3.0
_AFTER_S = 6.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Stage:
    """What every fault needs."""

    plan: ClusterPlan
    cluster: Cluster
    manner: Manner
    repertoires: list[list[Utterance]]
    log: Path
    folder: Path
    say: Say


@dataclass(slots=True)
class Happened:
    """What a scenario tells of itself."""

    hit: int = 0
    """Sessions that were on the instances that were hurt."""
    since: dict[Side, float] = field(default_factory=dict)
    """When it began for each side; empty: what counts is when each client noticed."""
    notes: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


Act = Callable[[Stage, Happened], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One fault."""

    done: str
    """In words."""
    act: Act
    back_within_s: float = BACK_WITHIN_S
    repeats: bool = False
    """Callers may have to say something again: what was in the process is lost with it."""
    outages: bool = True
    """Sessions may be lost."""
    refusals: bool = True
    """Newcomers may be refused for a moment."""
    missing: Callable[[], str | None] = lambda: None
    """Why it cannot be done here."""
    place: Callable[[Stage], AbstractAsyncContextManager[Stage]] = nullcontext
    """Makes what it needs: a cluster or a network of its own."""


async def run_fault(name: str, scenario: Scenario, stage: Stage) -> Fault:
    """Let callers talk, do it, let them talk on, and see what it has cost."""
    if (why := scenario.missing()) is not None:
        stage.say(f"fault {name}: SKIPPED, {why}")
        return Fault(name=name, done=scenario.done, seconds=0.0, skipped=why)
    stage.say(f"fault {name}: {scenario.done}")
    happened = Happened()
    began = time.monotonic()
    callers = stage.repertoires[: stage.plan.fault_callers]
    try:
        async with (
            scenario.place(stage) as place,
            crowd(place.manner, callers, stage.plan.seed) as people,
        ):
            await asyncio.sleep(spread_s(len(callers)) + _SETTLE_S)
            await scenario.act(place, happened)
            await asyncio.sleep(_AFTER_S)
    except CannotBeDone as error:
        stage.say(f"fault {name}: SKIPPED, {error}")
        return Fault(name=name, done=scenario.done, seconds=0.0, skipped=str(error))
    seconds = round(time.monotonic() - began, 1)
    return judged(name, scenario, happened, people.diaries, seconds, exact=stage.plan.exact)


def judged(
    name: str,
    scenario: Scenario,
    happened: Happened,
    diaries: Sequence[Diary],
    seconds: float,
    *,
    exact: bool,
) -> Fault:
    """From what the callers noted to what should not have been."""
    touched = [diary for diary in diaries if diary.outages]
    untouched = account([diary for diary in diaries if not diary.outages], exact=exact)
    everybody = account(diaries, exact=exact)
    outages = [outage for diary in touched for outage in diary.outages]
    back = Spread.of_seconds(back_after(outages, happened.since))
    return Fault(
        name=name,
        done=scenario.done,
        seconds=seconds,
        hit=happened.hit,
        seen=seen_in(outages),
        back_ms=back if outages else None,
        touched=len(touched),
        untouched=untouched,
        accounts=everybody,
        notes=tuple(happened.notes),
        faults=(
            *happened.faults,
            *_unexpected(scenario, everybody, untouched),
            *_not_back(scenario, outages, back),
        ),
    )


def _unexpected(scenario: Scenario, everybody: Accounts, untouched: Accounts) -> list[str]:
    found = [f"callers that it did not touch: {loss}" for loss in untouched.losses]
    found += [loss for loss in everybody.losses if loss not in untouched.losses]
    if not scenario.repeats:
        again = {
            "utterances had to be said again": everybody.said_again,
            "replies were broken off": everybody.broken_off,
        }
        found += [f"{count} {what}" for what, count in again.items() if count]
    if not scenario.refusals and everybody.refused:
        found.append(f"{everybody.refused} newcomers were refused")
    return found


def _not_back(scenario: Scenario, outages: Sequence[Outage], back: Spread) -> list[str]:
    found = []
    if never := sum(outage.back_s is None for outage in outages):
        found.append(f"{never} sessions never went on")
    if outages and not scenario.outages:
        found.append(f"{len(outages)} sessions were lost")
    if back.max is not None and back.max > 1000 * scenario.back_within_s:
        found.append(
            f"the last session went on after {back.max / 1000:.1f} s, "
            f"which is over {scenario.back_within_s:g} s"
        )
    return found
