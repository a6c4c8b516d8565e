"""Does with the bridge what systemd does with its unit: watches, rescues, restarts."""

import asyncio
import contextlib
import os
import shlex
import signal
import socket
import sys
import tempfile
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

UNIT = Path(__file__).parents[3] / "deploy" / "systemd" / "voice-bridge.service"
_RUN = "/opt/voice-services/current/deploy/run"
_CONFIGURATION = "--config /etc/voice-services/bridge.yaml"
"""Of the machine that is installed; the tests have theirs in the environment."""


def installed_unit() -> dict[str, str]:
    """The settings of the unit."""
    lines = (line.partition("=") for line in UNIT.read_text().splitlines() if "=" in line)
    return {name: value for name, _, value in lines}


class Unit:
    """A started unit; :func:`running_unit` makes it."""

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        self._settings = installed_unit()
        self._notify = folder / "notify"
        self._environment = {**os.environ, **environment, "NOTIFY_SOCKET": str(self._notify)}
        watchdog_us = round(float(self._settings["WatchdogSec"]) * 1e6)
        self._environment["WATCHDOG_USEC"] = str(watchdog_us)
        self._watchdog_s = watchdog_us / 1e6
        self._told_at = 0.0
        self._process: Process | None = None
        self._up = asyncio.Event()
        self._children: list[Process] = []
        self.said: list[bytes] = []
        self.starts = 0
        self.rescues: list[int] = []
        """Exit codes of ExecStopPost."""

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def said_so(self, what: bytes, count: int = 1) -> None:
        """Wait until it has logged this."""
        async with asyncio.timeout(30):
            while sum(what in line for line in self.said) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            lambda: _Notified(self._told), local_addr=str(self._notify), family=socket.AF_UNIX
        )
        try:
            while True:
                self.starts += 1
                await self._live()
                rescue = await self._execute("ExecStopPost")
                await rescue.communicate()
                self.rescues.append(rescue.returncode or 0)
                await asyncio.sleep(float(self._settings["RestartSec"]))
        finally:
            transport.close()
            for process in self._children:
                if process.returncode is None:
                    process.kill()
                    await process.wait()

    async def _live(self) -> None:
        self._up.clear()
        self._process = process = await self._execute("ExecStart", stderr=PIPE)
        watching = asyncio.create_task(self._watch(process))
        assert process.stderr is not None
        async for line in process.stderr:
            self.said.append(line)
        await process.wait()
        watching.cancel()

    async def _watch(self, process: Process) -> None:
        await self._up.wait()
        while (left_s := self._told_at + self._watchdog_s - time.monotonic()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(left_s)
        process.send_signal(signal.SIGABRT)
        process.send_signal(signal.SIGCONT)  # a stopped process takes no other signal but SIGKILL

    def _told(self, message: bytes) -> None:
        self._told_at = time.monotonic()
        if message == b"READY=1":
            self._up.set()

    async def _execute(self, command: str, stderr: int = DEVNULL) -> Process:
        line = self._settings[command].removeprefix("-").replace(_CONFIGURATION, "")
        assert line.startswith(_RUN)
        line = line.replace(_RUN, f"{sys.executable} -m", 1)
        starting = asyncio.ensure_future(
            asyncio.create_subprocess_exec(
                *shlex.split(line), env=self._environment, stdout=DEVNULL, stderr=stderr
            )
        )
        try:
            process = await asyncio.shield(starting)
        except asyncio.CancelledError:  # a half-started child must not be forgotten
            self._children.append(await starting)
            raise
        self._children.append(process)
        return process


class _Notified(asyncio.DatagramProtocol):
    def __init__(self, told: Callable[[bytes], None]) -> None:
        self._told = told

    def datagram_received(self, data: bytes, addr: object) -> None:
        self._told(data)


@contextlib.asynccontextmanager
async def running_unit(environment: Mapping[str, str]) -> AsyncIterator[Unit]:
    with tempfile.TemporaryDirectory(prefix="va-unit-") as folder:
        unit = Unit(environment, Path(folder))
        running = asyncio.create_task(unit.run())
        try:
            yield unit
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
