"""The processes of a cluster: started, watched, hurt and stopped by one owner."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from services.balancer.plan import Plan
from services.balancer.process import Balancer, balancing
from services.bench.tts_counters import Counters, read_counters
from services.cli.processes import ServiceName, ServiceProcess, free_port

_GONE_S = 90.0


class Instance:
    """One process of a service, which may have successors on the same port."""

    def __init__(
        self,
        name: ServiceName,
        number: int,
        *,
        log: Path,
        config: Path | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.name: ServiceName = name
        self.number = number
        self.port = free_port()
        self.log = log
        self.config = config
        self.environment = environment or {}
        self._process: ServiceProcess | None = None

    def __str__(self) -> str:
        return f"{self.name}@{self.number}"

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None and self._process.pid is not None
        return self._process.pid

    async def start(self) -> None:
        """Returns when its models are warm. Raises ServiceFailed."""
        self._process = ServiceProcess(
            self.name,
            port=self.port,
            config=self.config,
            environment=self.environment,
            on_line=self._keep,
        )
        await self._process.start()

    async def stop(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.signal(signal.SIGCONT)  # one that is stopped would not hear of it
            await self._process.stop()

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    async def ended(self) -> int:
        """Wait until it has ended; gives the exit code."""
        assert self._process is not None
        async with asyncio.timeout(_GONE_S):
            return await self._process.ended()

    async def counters(self) -> Counters:
        """What it tells at `/metrics`; empty while it cannot be asked."""
        return await read_counters(f"http://{self.address}")

    def _keep(self, line: str) -> None:
        with contextlib.suppress(OSError), self.log.open("a", encoding="utf-8") as file:
            file.write(f"{self} {line}\n")


@dataclass(slots=True)
class Cluster:
    """Where the callers call, and what is behind it."""

    asr_url: str
    """`http://host:port`"""
    tts_url: str
    instances: list[Instance] = field(default_factory=list)
    """Empty when somebody else runs it."""
    balancer: Balancer | None = None

    def of(self, name: ServiceName) -> list[Instance]:
        return [each for each in self.instances if each.name == name]


@asynccontextmanager
async def running_cluster(instances: list[Instance], folder: Path) -> AsyncIterator[Cluster]:
    """Start instances side by side, and nginx with the shipped configuration before them.

    Raises:
        ServiceFailed, BalancerFailed
    """
    port = free_port()
    plan = Plan(
        asr=tuple(each.address for each in instances if each.name == "asr"),
        tts={"main": tuple(each.address for each in instances if each.name == "tts")},
        listen=f"127.0.0.1:{port}",
    )
    try:
        started = await asyncio.gather(
            *(each.start() for each in instances), return_exceptions=True
        )
        for result in started:
            if isinstance(result, BaseException):
                raise result
        async with balancing(plan, folder) as balancer:
            url = f"http://127.0.0.1:{port}"
            yield Cluster(url, url, instances, balancer)
    finally:
        await asyncio.gather(*(each.stop() for each in instances), return_exceptions=True)
