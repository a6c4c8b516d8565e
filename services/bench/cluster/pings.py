"""Silent sessions that ping: what nginx and a service's event loop add to any message."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from websockets.exceptions import ConnectionClosed

from services.bench.cluster.instances import Cluster
from services.bench.cluster.results import Pings
from services.bench.results import Spread
from services.client.connection import ServiceError, open_socket

_EVERY_S = 0.1
_AGAIN_S = 1.0


class Pinger:
    """Some sessions through nginx, and one to each instance."""

    def __init__(self, cluster: Cluster, asr_key: str | None, tts_key: str | None) -> None:
        keys = {"asr": asr_key, "tts": tts_key}
        self._through = [
            (f"{base}/v1/stream/{name}", keys[name])
            for name, base in (("asr", cluster.asr_url), ("tts", cluster.tts_url))
            for _ in range(max(1, len(cluster.instances) // 2))
        ]
        self._direct = [
            (f"http://{each.address}/v1/stream/{each.name}", keys[each.name])
            for each in cluster.instances
        ]
        self._through_s: list[float] = []
        self._direct_s: list[float] = []

    @asynccontextmanager
    async def pinging(self) -> AsyncIterator[None]:
        """Ping while the block runs."""
        lists = [(self._through, self._through_s), (self._direct, self._direct_s)]
        tasks = [
            asyncio.create_task(_ping(url, key, found))
            for urls, found in lists
            for url, key in urls
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def result(self) -> Pings:
        return Pings(
            through_nginx_ms=Spread.of_seconds(self._through_s),
            direct_ms=Spread.of_seconds(self._direct_s),
        )


async def _ping(url: str, key: str | None, found: list[float]) -> None:
    """Until cancelled; a session that was closed for its silence is opened again."""
    while True:
        with suppress(ConnectionClosed, ServiceError, OSError, TimeoutError):
            async with await open_socket("ws" + url.removeprefix("http"), key) as socket:
                while True:
                    await asyncio.sleep(_EVERY_S)
                    began = time.monotonic()
                    await (await socket.ping())
                    found.append(time.monotonic() - began)
        await asyncio.sleep(_AGAIN_S)
