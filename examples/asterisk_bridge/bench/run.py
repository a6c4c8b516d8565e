"""A benchmark of calls from beginning to end: a level for each number of simultaneous calls."""

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from examples.asterisk_bridge.bench.journals import journal_of, open_journals
from examples.asterisk_bridge.bench.levels import level_of, taken
from examples.asterisk_bridge.bench.processes import cpu_seconds, shares
from examples.asterisk_bridge.bench.results import CallBench, CallLevel
from examples.asterisk_bridge.bench.scenario import Speech, speech_of
from examples.asterisk_bridge.bench.stack import Stack, StackPlan, running_stack
from examples.asterisk_bridge.bench.stages import CallJournal
from examples.asterisk_bridge.bench.talk import CallHeard, CallMade, Script, measured, talk
from examples.voice_agent.store.conversations import Conversations
from services.bench.corpus import RATE, Recording, load_corpus
from services.bench.machine import describe_machine

QUESTIONS = (
    "vm-helpexit",
    "confbridge-only-one",
    "pls-hold-while-try",
    "enter-num-blacklist",
    "demo-nomatch",
)
"""Of the bundled recordings those that are one whole short sentence with a clear end: none that
pauses and then adds another, none whose last sound fades for a third of a second."""
_NEVER_INTERRUPTS = "demo-nomatch"
"""It begins as agents like to begin, "I'm sorry": taken for the echo of one that just said so."""
_LONGEST_S = 6.0
_APART_S = 0.4
"""Between the beginnings of simultaneous calls; nobody's calls begin in the same millisecond."""
_SETTLE_S = 1.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class CallPlan:
    """What to measure."""

    corpus: Path
    levels: tuple[int, ...]
    calls: int
    """Of a level, at least."""
    turns: int
    seed: int
    interrupt: bool
    record: bool
    """Keep the recordings."""
    stack: StackPlan
    there: Stack | None = None
    """A bridge that runs already."""


async def run_call_benchmark(plan: CallPlan, log: Path, say: Say) -> CallBench:
    """Carry out the plan. Logs and recordings go into a folder named like `log`.

    Raises:
        CorpusError, ServiceFailed: with a sentence.
    """
    machine = describe_machine()
    speeches = await asyncio.to_thread(load_speeches, plan.corpus)
    folder = log.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    levels: list[CallLevel] = []
    async with standing(plan, folder, say) as stack:
        say("a call to warm up")
        short = replace(plan, turns=1, interrupt=False)
        await _level(short, stack, speeches, 1, 1, folder, "warm")
        for concurrency in plan.levels:
            calls = max(plan.calls, concurrency)
            say(f"{concurrency} at once: {calls} calls of {plan.turns} questions")
            levels.append(
                await _level(plan, stack, speeches, concurrency, calls, folder, str(concurrency))
            )
            await asyncio.sleep(_SETTLE_S)
    return CallBench(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=machine,
        setup=setup_of(plan),
        levels=tuple(levels),
    )


def setup_of(plan: CallPlan) -> dict[str, object]:
    stack = {name: str(value) for name, value in asdict(plan.stack).items() if value is not None}
    return {
        "corpus": plan.corpus.name,
        "calls": plan.calls,
        "turns": plan.turns,
        "seed": plan.seed,
        "interrupt": plan.interrupt,
        **(stack if plan.there is None else {"sip": ":".join(map(str, plan.there.sip))}),
    }


@asynccontextmanager
async def standing(plan: CallPlan, folder: Path, say: Say) -> AsyncIterator[Stack]:
    """What is called."""
    if plan.there is not None:
        yield plan.there
        return
    most = max(plan.levels, default=1)
    say(f"starting Asterisk, ASR, TTS, {plan.stack.llm} and the bridge; logs in {folder}")
    async with running_stack(replace(plan.stack, calls=most), folder) as stack:
        yield stack


def load_speeches(corpus: Path) -> list[Speech]:
    """What callers say: whole short sentences with a known end.

    Raises:
        CorpusError: there are none.
    """
    recordings = load_corpus(corpus)
    chosen = [each for each in recordings if each.name in QUESTIONS]
    return [_speech(each) for each in chosen or recordings if each.seconds <= _LONGEST_S]


def _speech(recording: Recording) -> Speech:
    """Cut to the speech: the line is silent before and after it."""
    begin, end = round(recording.speech_start_s * RATE), round(recording.speech_end_s * RATE)
    return replace(speech_of(recording.samples[begin:end], RATE), name=recording.name)


async def _level(
    plan: CallPlan,
    stack: Stack,
    speeches: Sequence[Speech],
    concurrency: int,
    calls: int,
    folder: Path,
    name: str,
) -> CallLevel:
    before, began = cpu_seconds(stack.pids), time.monotonic()
    supply = scripts(plan, speeches, f"{plan.seed}/{name}")
    numbers = iter(range(calls))

    async def line(place: int) -> list[CallMade]:
        await asyncio.sleep(place * _APART_S)
        made = []
        for number in numbers:
            caller = f"bench-{name}-{number}"
            path = folder / f"{caller}.wav" if plan.record else None
            script = next(supply)
            made.append(await talk(stack.sip, stack.number, script, caller=caller, recording=path))
        return made

    lines = await asyncio.gather(*(line(place) for place in range(concurrency)))
    seconds = time.monotonic() - began
    cpu = shares(before, cpu_seconds(stack.pids), seconds)
    heard = [
        await asyncio.to_thread(measured, each) for each in itertools.chain.from_iterable(lines)
    ]
    journals = await _journals(stack, heard)
    if stack.settings is not None:
        heard = [taken(each, told) for each, told in zip(heard, journals, strict=True)]
    return level_of(concurrency, seconds, cpu, heard, journals)


def scripts(plan: CallPlan, speeches: Sequence[Speech], seed: str) -> Iterator[Script]:
    """A caller asks `turns` questions and interrupts the last answer with another."""
    chance = random.Random(seed)
    interrupting = [each for each in speeches if each.name != _NEVER_INTERRUPTS] or speeches
    while True:
        questions = tuple(chance.choices(speeches, k=plan.turns))
        yield Script(questions, chance.choice(interrupting) if plan.interrupt else None)


async def _journals(stack: Stack, heard: Iterable[CallHeard]) -> list[CallJournal | None]:
    opened = open_journals(stack.settings) if stack.settings is not None else nullcontext(None)
    async with opened as conversations:
        return [await _journal(conversations, each) for each in heard]


async def _journal(conversations: Conversations | None, heard: CallHeard) -> CallJournal | None:
    if conversations is None or heard.failure is not None:
        return None
    return await journal_of(conversations, heard.caller)
