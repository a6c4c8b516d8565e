"""A real Prometheus on a port of its own, with the repository's configuration."""

import asyncio
import contextlib
import shutil
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.deploy.dashboards import DEPLOY
from tests.services.process import free_port

PROMETHEUS = shutil.which("prometheus")
PROMTOOL = shutil.which("promtool")
MISSING = "prometheus is not installed (Debian: prometheus)"
START_S = 30.0


@dataclass
class Prometheus:
    http: httpx.AsyncClient

    async def query(self, text: str) -> list[dict[str, Any]]:
        """The series that an expression gives now; AssertionError when it is refused."""
        answer = (await self.http.post("/api/v1/query", data={"query": text})).json()
        assert answer["status"] == "success", f"{text}: {answer}"
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    async def names(self) -> set[str]:
        """All metrics that it has."""
        return set((await self.http.get("/api/v1/label/__name__/values")).json()["data"])

    async def rules(self) -> list[dict[str, Any]]:
        answer = (await self.http.get("/api/v1/rules")).json()
        return [rule for group in answer["data"]["groups"] for rule in group["rules"]]

    async def scraped(self, jobs: int) -> None:
        """Wait until all targets have been read once more."""
        before = await self._scrapes()
        async with asyncio.timeout(START_S):
            while True:
                now = await self._scrapes()
                if len(now) >= jobs and all(now[each] > before.get(each, "") for each in now):
                    return
                await asyncio.sleep(0.1)

    async def _scrapes(self) -> dict[str, str]:
        answer = (await self.http.get("/api/v1/targets")).json()
        return {
            target["scrapeUrl"]: target["lastScrape"]
            for target in answer["data"]["activeTargets"]
            if target["health"] == "up"
        }


@contextlib.asynccontextmanager
async def prometheus(folder: Path, targets: Mapping[str, str]) -> AsyncIterator[Prometheus]:
    """Start it with the shipped configuration, but reading `targets` once a second.

    Args:
        targets: job → address.
    """
    assert PROMETHEUS is not None
    configuration = _configuration(targets)
    await asyncio.to_thread((folder / "prometheus.yml").write_text, yaml.safe_dump(configuration))
    address = f"127.0.0.1:{free_port()}"
    process = await asyncio.create_subprocess_exec(
        PROMETHEUS,
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address={address}",
        stdout=DEVNULL,
        stderr=DEVNULL,
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://{address}", trust_env=False) as http:
            async with asyncio.timeout(START_S):
                while not await _is_ready(http):
                    assert process.returncode is None
                    await asyncio.sleep(0.1)
            yield Prometheus(http)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def _configuration(targets: Mapping[str, str]) -> dict[str, Any]:
    shipped: dict[str, Any] = yaml.safe_load(
        (DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8")
    )
    shipped["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    shipped["rule_files"] = [str(DEPLOY / "prometheus" / each) for each in shipped["rule_files"]]
    for job in shipped["scrape_configs"]:
        job["static_configs"] = [{"targets": [targets[job["job_name"]]]}]
    return shipped


async def _is_ready(http: httpx.AsyncClient) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return (await http.get("/-/ready")).status_code == 200
    return False
