"""A TCP proxy that loses connections: at once, after so many bytes, or without a word."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass

_HEAD = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Cut:
    """A connection is lost after so many bytes of WebSocket frames in either direction."""

    up: int = 1 << 62
    down: int = 1 << 62


class UnreliableProxy:
    """Forwards to `address`; :func:`unreliable` makes it."""

    def __init__(self, address: str, cuts: Iterable[Cut]) -> None:
        self._host, port = address.split(":")
        self._port = int(port)
        self._cuts: Iterator[Cut] = iter(cuts)
        self._writers: list[asyncio.StreamWriter] = []
        self._lets_through = asyncio.Event()
        self._lets_through.set()
        self._refuses = False
        self.connections = 0
        self.ws = ""

    def forward_to(self, address: str) -> None:
        """Let new connections go to another service."""
        self._host, port = address.split(":")
        self._port = int(port)

    def cut(self) -> None:
        """Lose what is connected now, with a reset."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    def freeze(self) -> None:
        """Let nothing through any more, and tell nobody, on connections there are and will be."""
        self._lets_through.clear()

    def refuse(self) -> None:
        """Lose what is connected, and all that connects from now on."""
        self._refuses = True
        self.cut()

    def accept(self) -> None:
        self._refuses = False

    def thaw(self) -> None:
        self._lets_through.set()

    async def carry(self, client: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self._refuses:
            answer.transport.abort()
            return
        cut = next(self._cuts, Cut())
        service, ask = await asyncio.open_connection(self._host, self._port)
        pair = [answer, ask]
        self._writers += pair
        ways = [
            asyncio.create_task(self._forward(client, ask, cut.up)),
            asyncio.create_task(self._forward(service, answer, cut.down)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for writer in pair:
                writer.transport.abort()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

    async def _forward(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, budget: int
    ) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            target.write(await source.readuntil(_HEAD))
            while budget > 0 and (data := await source.read(min(budget, 65_536))):
                await self._lets_through.wait()
                target.write(data)
                await target.drain()
                budget -= len(data)
            # What was let through has arrived before the connection is lost.
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def unreliable(address: str, cuts: Iterable[Cut] = ()) -> AsyncIterator[UnreliableProxy]:
    """Run a proxy to `host:port`.

    Args:
        cuts: when the first connections are lost, one after the other; later ones hold.
    """
    proxy = UnreliableProxy(address, cuts)
    server = await asyncio.start_server(proxy.carry, "127.0.0.1", 0)
    proxy.ws = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        proxy.thaw()
        proxy.cut()
        await server.wait_closed()
