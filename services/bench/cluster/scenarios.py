"""The faults that can be asked for by name."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from services.bench.cluster.abuse import Abuse, abuse
from services.bench.cluster.faults import Act, Happened, Scenario, Stage
from services.bench.cluster.instances import Instance
from services.bench.cluster.network import LOSS_PERCENT, missing_for_network
from services.bench.cluster.requests import requesting
from services.bench.cluster.special import (
    fill_disk,
    jump,
    missing_for_clock,
    missing_for_disk,
    wait,
    with_clock,
    with_losses,
    with_tiny_disk,
)
from services.bench.cluster.watch import sessions_of

FROZEN_S = 4.0
"""Less than the time after which a client takes a silent service for gone."""
NEWCOMERS_S = 8.0


def _first_of_each(stage: Stage) -> list[Instance]:
    return [stage.cluster.of(name)[0] for name in ("asr", "tts")]


async def _signalled(
    stage: Stage, happened: Happened, instance: Instance, number: signal.Signals
) -> None:
    happened.hit += sessions_of(await instance.counters())
    happened.since[instance.name] = time.monotonic()
    instance.signal(number)


async def _kill(stage: Stage, happened: Happened) -> None:
    """One after the other, as accidents happen; each is started again, as systemd would."""
    for instance in _first_of_each(stage):
        await _signalled(stage, happened, instance, signal.SIGKILL)
        await instance.ended()
        await asyncio.sleep(3)
        await instance.start()


async def _freeze(stage: Stage, happened: Happened) -> None:
    for instance in _first_of_each(stage):
        await _signalled(stage, happened, instance, signal.SIGSTOP)
        await asyncio.sleep(FROZEN_S)
        instance.signal(signal.SIGCONT)
        await asyncio.sleep(2)
    happened.notes.append(f"each stood still for {FROZEN_S:g} s")


async def _terminate(stage: Stage, happened: Happened) -> None:
    for instance in _first_of_each(stage):
        await _renew(stage, happened, instance)


async def _roll(stage: Stage, happened: Happened) -> None:
    """What `deploy/install.sh` does for another release, model or configuration."""
    async with requesting(stage.manner, stage.repertoires[0][0]) as asked:
        for instance in stage.cluster.instances:
            await _renew(stage, happened, instance)
    happened.notes += asked.notes
    happened.faults += asked.faults


@asynccontextmanager
async def _calling_again(stage: Stage) -> AsyncIterator[Stage]:
    """Callers hang up and call again all the time, so that there always are newcomers."""
    yield replace(stage, manner=replace(stage.manner, call_s=NEWCOMERS_S))


async def _renew(stage: Stage, happened: Happened, instance: Instance) -> None:
    """Ask it to end, wait, and start its successor."""
    began = time.monotonic()
    await _signalled(stage, happened, instance, signal.SIGTERM)
    happened.since.clear()  # sessions live on for a while: what counts is what a client noticed
    code = await instance.ended()
    happened.notes.append(f"{instance} ended after {time.monotonic() - began:.1f} s")
    if code != 0:
        happened.faults.append(f"{instance} ended with exit code {code}")
    await instance.start()


def _abusing(kind: Abuse) -> Act:
    async def act(stage: Stage, happened: Happened) -> None:
        told = await abuse(kind, stage.manner)
        happened.notes += told.notes
        happened.faults += told.faults

    return act


SCENARIOS: dict[str, Scenario] = {
    "kill": Scenario(
        "kill -9 of one ASR and one TTS instance, started again 3 s later", _kill, repeats=True
    ),
    "stop": Scenario(
        f"SIGSTOP of one ASR and one TTS instance, SIGCONT {FROZEN_S:g} s later",
        _freeze,
        outages=False,
    ),
    "term": Scenario(
        "SIGTERM to one ASR and one TTS instance, each started again when it has ended", _terminate
    ),
    "rolling": Scenario(
        "all instances restarted by SIGTERM, one after the other, under calls and requests",
        _roll,
        refusals=False,
        place=_calling_again,
    ),
    "disk": Scenario(
        "the disk of voices, phrases, lexicon and temporary files is full, then free again",
        fill_disk,
        outages=False,
        missing=missing_for_disk,
        place=with_tiny_disk,
    ),
    "clock": Scenario(
        "the wall clock jumps an hour forward, two hours back, and right again",
        jump,
        outages=False,
        missing=missing_for_clock,
        place=with_clock,
    ),
    "loss": Scenario(
        f"callers behind a network that loses {LOSS_PERCENT:g} % of packets each way",
        wait,
        outages=False,
        missing=missing_for_network,
        place=with_losses,
    ),
    "slow": Scenario(
        "clients that do not read: long replies and partials pile up",
        _abusing("slow"),
        outages=False,
    ),
    "malicious": Scenario(
        "clients that send oversized messages, garbage, floods and halves of handshakes",
        _abusing("malicious"),
        outages=False,
    ),
}
