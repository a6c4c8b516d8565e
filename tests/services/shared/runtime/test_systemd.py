"""What systemd is told, read from the other end of a real NOTIFY_SOCKET."""

import asyncio
import os
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from services.shared.runtime.auth import KeyRing
from services.shared.runtime.config import LimitsConfig
from services.shared.runtime.lifecycle import HANG_S, Lifecycle, Phase
from services.shared.runtime.systemd import Supervisor, report
from tests.services.process import FAKE_ASR, service_process


class Systemd:
    """Its end of the socket."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.setblocking(False)

    async def told(self) -> dict[str, str]:
        async with asyncio.timeout(20):
            data = await asyncio.get_running_loop().sock_recv(self._socket, 4096)
        return dict(line.split("=", 1) for line in data.decode().splitlines())

    async def told_of(self, name: str) -> dict[str, str]:
        while name not in (told := await self.told()):
            pass
        return told

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Systemd]:
    abstract = f"@voice-{uuid.uuid4().hex}"
    other = Systemd(str(tmp_path / "notify") if request.param == "path" else abstract)
    yield other
    other.close()


def starting() -> Lifecycle:
    return Lifecycle(LimitsConfig(), KeyRing([]), CollectorRegistry())


async def test_ready_is_told_when_models_are_warm_and_connections_accepted(
    systemd: Systemd,
) -> None:
    lifecycle, listening = starting(), asyncio.Event()
    telling = asyncio.create_task(report(lifecycle, listening, Supervisor(systemd.address), 42.0))
    assert await systemd.told() == {"STATUS": "loading models"}
    lifecycle.phase = Phase.READY
    lifecycle.ready.set()
    await asyncio.sleep(0.05)
    with pytest.raises(BlockingIOError):
        systemd._socket.recv(1)
    listening.set()
    assert await systemd.told() == {"READY": "1", "STATUS": "ready, 0 sessions"}
    with lifecycle.admit():
        draining = asyncio.create_task(lifecycle.drain(5.0))
        assert await systemd.told() == {
            "STOPPING": "1",
            "EXTEND_TIMEOUT_USEC": "42000000",
            "STATUS": "draining, 1 sessions",
        }
    await draining
    telling.cancel()


async def test_the_watchdog_is_fed_by_a_running_loop_unless_a_model_hangs(
    systemd: Systemd,
) -> None:
    class Owner:
        name = "asr"
        busy_s = 0.0

        def busy_for(self) -> float:
            return self.busy_s

    lifecycle, owner = starting(), Owner()
    lifecycle.phase = Phase.READY
    lifecycle.owners.append(owner)
    told = report(lifecycle, asyncio.Event(), Supervisor(systemd.address, 0.06), 1.0)
    telling = asyncio.create_task(told)
    for _ in range(3):
        assert await systemd.told() == {"WATCHDOG": "1", "STATUS": "ready, 0 sessions"}
    owner.busy_s = HANG_S + 1
    while "WATCHDOG" in (hung := await systemd.told()):
        pass
    assert hung == {"STATUS": "hung: asr"}
    assert "WATCHDOG" not in await systemd.told()
    telling.cancel()


async def test_a_failed_start_says_why(systemd: Systemd) -> None:
    lifecycle = starting()
    telling = asyncio.create_task(
        report(lifecycle, asyncio.Event(), Supervisor(systemd.address), 1.0)
    )
    await systemd.told()
    lifecycle.fail(FileNotFoundError("model.bin\nWATCHDOG=1"))
    assert await systemd.told() == {"STATUS": "FileNotFoundError: model.bin"}
    telling.cancel()


async def test_a_supervisor_that_is_gone_is_no_fault(tmp_path: Path) -> None:
    Supervisor(str(tmp_path / "gone")).tell("READY=1")
    Supervisor().tell("READY=1")
    async with asyncio.timeout(1):
        await report(starting(), asyncio.Event(), Supervisor(), 1.0)


def test_the_environment_names_it_and_children_do_not_inherit_it() -> None:
    mine = {
        "NOTIFY_SOCKET": "/run/n",
        "WATCHDOG_USEC": "30000000",
        "WATCHDOG_PID": str(os.getpid()),
    }
    supervisor = Supervisor.of(mine)
    assert (supervisor.listens, supervisor.watchdog_s) == (True, 30.0)
    assert mine == {}
    others = {"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}
    assert Supervisor.of(others).watchdog_s == 0.0
    nobody: dict[str, str] = {}
    assert not Supervisor.of(nobody).listens


@pytest.mark.timeout(60)
async def test_a_service_tells_its_whole_life(tmp_path: Path) -> None:
    systemd = Systemd(str(tmp_path / "notify"))
    told = {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "300000"}
    async with service_process("asr", **FAKE_ASR, **told) as service:
        assert await systemd.told_of("READY") == {"READY": "1", "STATUS": "ready, 0 sessions"}
        assert await systemd.told_of("WATCHDOG")
        await service.ready()  # it is the truth
        service.terminate()
        stopping = await systemd.told_of("STOPPING")
        assert int(stopping["EXTEND_TIMEOUT_USEC"]) >= 70e6
        assert await service.ended() == 0
    systemd.close()
