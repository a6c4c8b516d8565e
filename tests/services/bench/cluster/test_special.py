"""What the faults use is what it is said to be."""

import asyncio
import inspect
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from services.asr.config import AsrConfig
from services.bench.cluster.cli import cluster
from services.bench.cluster.network import HOST, CannotBeDone, lossy_network, missing_for_network
from services.bench.cluster.plan import ClusterPlan, environments
from services.bench.cluster.special import clock_library, missing_for_clock
from services.tts.config import TtsConfig


def plan(**fields: object) -> ClusterPlan:
    told: dict[str, object] = {
        "corpus": Path("x.jsonl"),
        "asr": 2,
        "tts": 2,
        "callers": 80,
        "seconds": 1,
        "faults": (),
        "fault_callers": 20,
        "soak_minutes": 0,
        "engine": "fake",
        "partials": True,
        "seed": 1,
        "drain_s": 5,
    }
    return ClusterPlan(**(told | fields))  # type: ignore[arg-type]


def test_what_is_measured_is_what_ships() -> None:
    told = environments(plan())
    assert not any("MAX" in name for name in (*told["asr"], *told["tts"]))
    assert told["asr"]["ASR__ENGINE__NAME"] == "fake"
    roomy = environments(plan(max_sessions=300))
    assert roomy["asr"]["ASR__RESUME__MAX_PARKED"] == roomy["asr"]["ASR__LIMITS__MAX_SESSIONS"]
    assert roomy["tts"]["TTS__LIMITS__MAX_SESSIONS"] == "300"


def test_who_is_left_of_two_has_room_for_the_usual_crowd() -> None:
    """And the network may lose all of them at once."""
    callers = inspect.signature(cluster).parameters["callers"].default
    asr, tts = AsrConfig(), TtsConfig()
    assert min(asr.limits.max_sessions, tts.limits.max_sessions) >= callers + 20
    assert asr.resume.max_parked >= asr.limits.max_sessions


def test_real_engines_are_those_of_the_configuration() -> None:
    told = environments(plan(engine="real"))
    assert not any("ENGINE" in name for name in (*told["asr"], *told["tts"]))


@pytest.mark.skipif(missing_for_clock() is not None, reason=str(missing_for_clock()))
async def test_the_clock_is_wrong_and_the_monotonic_one_is_not(tmp_path: Path) -> None:
    library = await clock_library(tmp_path)
    clock = tmp_path / "clock"
    clock.write_text("-7200")
    code = "import time; print(time.time(), time.monotonic())"
    told = []
    for more in ({}, {"LD_PRELOAD": str(library), "WALL_CLOCK_FILE": str(clock)}):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", code), env=os.environ | more, stdout=asyncio.subprocess.PIPE
        )
        said, _ = await process.communicate()
        told.append([float(each) for each in said.split()])
    (wall, steady), (wrong_wall, wrong_steady) = told
    assert wrong_wall - wall == pytest.approx(-7200, abs=60)
    assert wrong_steady - steady == pytest.approx(0, abs=60)


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.skipif(missing_for_network() is not None, reason=str(missing_for_network()))
async def test_sockets_of_the_block_are_at_the_far_end() -> None:
    async def tell(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(writer.get_extra_info("peername")[0].encode())
        await writer.drain()
        writer.close()

    try:
        said = await _peer_beyond(tell)
    except CannotBeDone as error:
        pytest.skip(str(error))
    assert said != HOST
    assert said.startswith(HOST.rpartition(".")[0])


async def _peer_beyond(
    tell: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> str:
    """What a server on this side takes for the address of a client in the block."""
    async with lossy_network() as network:
        server = await asyncio.start_server(tell, HOST, 0)
        port = server.sockets[0].getsockname()[1]
        with network.inside():
            async with asyncio.timeout(30):
                reader, writer = await asyncio.open_connection(HOST, port)
                said = await reader.read()
                writer.close()
        server.close()
        await server.wait_closed()
    return said.decode()
