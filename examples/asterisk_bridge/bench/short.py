"""Many short calls one after the other through all of it, and what they leave behind."""

import asyncio
import contextlib
import itertools
import math
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table

from examples.asterisk_bridge.bench.asterisk_server import PASSWORD, USER
from examples.asterisk_bridge.bench.caller import CallFailed, dial
from examples.asterisk_bridge.bench.journals import open_journals
from examples.asterisk_bridge.bench.processes import holdings
from examples.asterisk_bridge.bench.results import ShortBench, ShortCalls
from examples.asterisk_bridge.bench.run import CallPlan, Say, load_speeches, setup_of, standing
from examples.asterisk_bridge.bench.scenario import Speech, heard, say
from examples.asterisk_bridge.bench.stack import Stack
from examples.voice_agent.ports import Outcome
from examples.voice_agent.store.conversations import ConversationFilter
from services.bench.figures import machine_line, number
from services.bench.machine import describe_machine
from services.cli.failures import CommandFailed

_WARM = 10
_ASK_EVERY, _GIVE_UP_EVERY = 10, 5
_GIVE_UP_S = 0.01
_PATIENCE_S = 10.0
_LONGEST_S = 30.0
_SETTLE_S = 15.0
_MORE_FILES = {"bridge": 16, "asterisk": 16}
"""The bridge keeps a few connections to ARI for a while."""
_MORE_FILES_ELSE = 8
_MORE_THREADS = 8
"""Pools grow to their size when they are first needed."""


async def run_short_calls(plan: CallPlan, log: Path, progress: Say) -> ShortBench:
    """Carry it out.

    Raises:
        CommandFailed: there is nothing of ours to look into.
        CorpusError, ServiceFailed: with a sentence.
    """
    if plan.there is not None:
        raise CommandFailed("--short needs what it starts itself: leave --sip out")
    machine = describe_machine()
    speeches = await asyncio.to_thread(load_speeches, plan.corpus)
    folder = log.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    async with standing(plan, folder, progress) as stack:
        await call_shortly(stack, speeches, _WARM)
        before = await settled(stack, folder)
        progress(f"{plan.calls} short calls, one after the other")
        began = time.monotonic()
        failures, given_up = await call_shortly(stack, speeches, plan.calls)
        seconds = time.monotonic() - began
        after = await settled(stack, folder)
        failures += await _declined(stack)
    level = ShortCalls(
        calls=plan.calls,
        given_up=given_up,
        failures=tuple(failures),
        seconds=round(seconds, 1),
        before=before,
        after=after,
        left=tuple(what_is_left(before, after)),
    )
    date = datetime.now(UTC).isoformat(timespec="seconds")
    return ShortBench(date=date, machine=machine, setup=setup_of(plan), levels=(level,))


async def call_shortly(
    stack: Stack, speeches: Sequence[Speech], count: int
) -> tuple[list[str], int]:
    """Hear the greeting begin and hang up; every tenth asks, every fifth gives up early.

    Returns:
        what failed, and how many gave up.
    """
    failures, given_up = [], 0
    questions = itertools.cycle(speeches)
    for place in range(count):
        asks = place % _ASK_EVERY == 0
        gives_up = place % _GIVE_UP_EVERY == 4
        given_up += gives_up
        try:
            async with asyncio.timeout(_GIVE_UP_S if gives_up else 3 * _PATIENCE_S):
                await _call(stack, f"short-{place}", next(questions) if asks else None)
        except CallFailed as error:
            failures.append(f"call {place}: {error}")
        except TimeoutError:
            if not gives_up:
                failures.append(f"call {place}: it takes too long")
    return failures, given_up


async def _call(stack: Stack, caller: str, question: Speech | None) -> None:
    async with dial(stack.sip, stack.number, caller=caller, longest_s=_LONGEST_S) as call:
        if await heard(call, 0.0, _PATIENCE_S) is None:
            raise CallFailed("no greeting")
        if question is None:
            return
        end_s = await say(call, question) + question.end_s
        if await heard(call, end_s, _PATIENCE_S) is None:
            raise CallFailed("no answer")


async def settled(stack: Stack, folder: Path) -> dict[str, float]:
    """What there is once the last call has been buried, or after a while."""
    deadline = time.monotonic() + _SETTLE_S
    while True:
        held = await _in_asterisk(stack) | await _sessions(stack)
        if not any(held.values()) or time.monotonic() > deadline:
            break
        await asyncio.sleep(0.2)
    held["files waiting"] = _files(folder / "spool") + _files(folder / "recordings")
    return held | holdings(stack.pids)


async def _declined(stack: Stack) -> list[str]:
    """Calls that went to the dial plan's fallback, which makes a sound, too."""
    assert stack.settings is not None
    async with open_journals(stack.settings) as conversations:
        wanted = ConversationFilter(outcome=Outcome.DECLINED)
        found = (await conversations.page(wanted, limit=1000)).conversations
    reasons = {each.row.cause for each in found}
    return [f"no agent took {len(found)} calls: {', '.join(map(str, reasons))}"] if found else []


async def _in_asterisk(stack: Stack) -> dict[str, float]:
    assert stack.asterisk is not None
    url = stack.asterisk.url
    async with httpx.AsyncClient(base_url=url, auth=(USER, PASSWORD), trust_env=False) as http:
        channels = (await http.get("/ari/channels")).json()
        bridges = (await http.get("/ari/bridges")).json()
    return {"channels": len(channels), "bridges": len(bridges)}


async def _sessions(stack: Stack) -> dict[str, float]:
    """Of ASR and TTS, as they tell."""
    found: dict[str, float] = {}
    async with httpx.AsyncClient(trust_env=False) as http:
        for name, url in stack.urls.items():
            with contextlib.suppress(httpx.HTTPError):
                found[f"{name}.sessions"] = _metric((await http.get(f"{url}/metrics")).text)
    return found


def _metric(text: str) -> float:
    from prometheus_client.parser import text_string_to_metric_families

    found = (each.samples for each in text_string_to_metric_families(text))
    samples = itertools.chain.from_iterable(found)
    return sum(float(each.value) for each in samples if each.name == "voice_sessions")


def _files(folder: Path) -> int:
    return sum(each.is_file() for each in folder.rglob("*")) if folder.exists() else 0


def what_is_left(before: Mapping[str, float], after: Mapping[str, float]) -> list[str]:
    """Sentences of what there is more of than pools and kept connections explain."""
    left = []
    for name, count in after.items():
        more = count - before.get(name, 0.0)
        if more > _allowed(name):
            left.append(f"{name}: {before.get(name, 0):g} before, {count:g} after")
    return left


def _allowed(name: str) -> float:
    program, _, what = name.partition(".")
    if what == "files":
        return _MORE_FILES.get(program, _MORE_FILES_ELSE)
    if what == "threads":
        return _MORE_THREADS
    return math.inf if what == "mb" else 0.0


def show_short(result: ShortBench, console: Console) -> None:
    """Print what was there before and after."""
    (level,) = result.levels
    console.print(machine_line(result.machine))
    table = Table("what", "before", "after")
    for name, count in level.after.items():
        table.add_row(name, number(level.before.get(name)), number(count))
    console.print(table)
    console.print(
        f"{level.calls} calls in {level.seconds:.0f} s, {level.given_up} of them given up early; "
        f"{len(level.failures)} failed"
    )
    for sentence in [*level.failures[:5], *level.left]:
        console.print(sentence, style="bold red")


def draw_short(result: ShortBench, path: Path) -> None:
    """A PNG of files, threads and memory before and after."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    (level,) = result.levels
    figure = Figure(figsize=(11, 3.6), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    for axes, what in zip(figure.subplots(1, 3), ("files", "threads", "mb"), strict=True):
        names = [name for name in level.after if name.endswith(f".{what}")]
        places = range(len(names))
        axes.bar([x - 0.2 for x in places], [level.before[n] for n in names], 0.4, label="before")
        axes.bar([x + 0.2 for x in places], [level.after[n] for n in names], 0.4, label="after")
        axes.set_xticks(places, [name.split(".")[0] for name in names], fontsize=8)
        axes.set_title(what, fontsize=10)
        axes.legend(frameon=False, fontsize=8)
    figure.suptitle(f"{level.calls} short calls", fontsize=11)
    figure.savefig(path)
