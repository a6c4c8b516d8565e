"""Faults that need a small cluster of its own: another clock, a tiny disk, a bad network."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from services.balancer.plan import ClientLimits, Plan
from services.balancer.process import balancing
from services.bench.cluster.disk import TinyDisk, try_a_full_disk
from services.bench.cluster.faults import Happened, Stage
from services.bench.cluster.instances import Instance, running_cluster
from services.bench.cluster.network import HOST, NETWORK, CannotBeDone, lossy_network
from services.bench.cluster.plan import environments
from services.cli.processes import free_port

_JUMPS_S = (3600, -7200, 0)
_BETWEEN_S = 3.0


@asynccontextmanager
async def _own_cluster(stage: Stage, name: str, more: dict[str, str]) -> AsyncIterator[Stage]:
    """One instance of each service, told more than usual by environment."""
    folder = stage.folder / name
    folder.mkdir(exist_ok=True)
    told = environments(stage.plan)
    instances = [
        Instance(
            side,
            1,
            log=stage.log,
            environment=told[side]
            | {key: value for key, value in more.items() if _is_for(key, side)},
        )
        for side in ("asr", "tts")
    ]
    async with running_cluster(instances, folder) as cluster:
        url = "ws" + cluster.asr_url.removeprefix("http")
        manner = replace(stage.manner, asr_url=url, tts_url=url)
        yield replace(stage, cluster=cluster, manner=manner)


def _is_for(variable: str, side: str) -> bool:
    """Variables of a section belong to one service, all others to both."""
    owners = {"ASR__": "asr", "TTS__": "tts"}
    return all(side == owner for prefix, owner in owners.items() if variable.startswith(prefix))


# The clock.


def missing_for_clock() -> str | None:
    return None if _compiler() else "a C compiler is not installed (apt-get install gcc libc6-dev)"


def _compiler() -> str | None:
    return shutil.which("cc") or shutil.which("gcc")


async def clock_library(folder: Path) -> Path:
    """Compile what changes the clock of a process. Raises CannotBeDone."""
    library, compiler = folder / "wall_clock.so", _compiler()
    if compiler is not None:
        process = await asyncio.create_subprocess_exec(
            *(compiler, "-shared", "-fPIC", "-O1", "-o", str(library)),
            str(Path(__file__).with_name("wall_clock.c")),
        )
        if await process.wait() == 0:
            return library
    raise CannotBeDone("the C compiler does not make the library that changes the clock")


@asynccontextmanager
async def with_clock(stage: Stage) -> AsyncIterator[Stage]:
    """Services whose wall clock is off by what a file says; the monotonic one is right.

    libfaketime is not used: what it does to waits and sleeps no clock that is set does.
    """
    clock = stage.folder / "clock"
    clock.write_text("0")
    library = await clock_library(stage.folder)
    more = {"LD_PRELOAD": str(library), "WALL_CLOCK_FILE": str(clock)}
    async with _own_cluster(stage, "clocked", more) as own:
        yield own


async def jump(stage: Stage, happened: Happened) -> None:
    """Set the clock an hour forward, two hours back, and right again."""
    clock = stage.folder / "clock"
    for seconds in _JUMPS_S:
        clock.write_text(str(seconds))
        await asyncio.sleep(_BETWEEN_S)
    for instance in stage.cluster.instances:
        told = await instance.counters()
        happened.notes.append(
            f"{instance}: {int(told.totals.get('voice_sessions', 0))} sessions all the while"
        )


# The disk.


def missing_for_disk() -> str | None:
    if os.geteuid() != 0:
        return "a disk of its own (tmpfs) needs root"
    return None if shutil.which("mount") else "mount is not installed"


@asynccontextmanager
async def with_tiny_disk(stage: Stage) -> AsyncIterator[Stage]:
    """Services that keep voices, phrases, the lexicon and temporary files on 4 MB."""
    folder = stage.folder / "tiny"
    async with TinyDisk(folder):
        more = {
            "TMPDIR": str(folder),
            "TTS__VOICES__STORE": str(folder / "voices"),
            "TTS__CACHE__FOLDER": str(folder / "phrases"),
            "TTS__LEXICON__FILE": str(folder / "lexicon.yaml"),
            "TTS__ENGINES__FAKE__CLONING": "true",
        }
        async with _own_cluster(stage, "small", more) as own:
            yield own


async def fill_disk(stage: Stage, happened: Happened) -> None:
    """Leave no byte free, and ask for everything that writes."""
    told = await try_a_full_disk(stage.folder / "tiny", stage.cluster, stage.repertoires[0][0])
    happened.notes += told.notes
    happened.faults += told.faults


# The network.


@asynccontextmanager
async def with_losses(stage: Stage) -> AsyncIterator[Stage]:
    """The same cluster, by an nginx at the far end of a bad cable.

    Raises:
        CannotBeDone
    """
    folder = stage.folder / "far"
    folder.mkdir(exist_ok=True)
    async with lossy_network() as network:
        port = free_port()
        plan = Plan(
            asr=tuple(each.address for each in stage.cluster.of("asr")),
            tts={"main": tuple(each.address for each in stage.cluster.of("tts"))},
            listen=f"{HOST}:{port}",
            limits=ClientLimits(trusted=(NETWORK,)),
        )
        url = f"ws://{HOST}:{port}"
        async with balancing(plan, folder):
            stage.say(f"network: {network.does}")
            with network.inside():
                yield replace(stage, manner=replace(stage.manner, asr_url=url, tts_url=url))


async def wait(stage: Stage, happened: Happened) -> None:
    """The network is bad all the time; nothing else needs to be done."""
    await asyncio.sleep(10)
