"""An HTTP server whose every byte a test decides: cut events, half answers, silence, lost ends."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Request:
    """What came, and how it is answered."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int
    """Which connection it came on, counted from 0."""
    writer: asyncio.StreamWriter
    reader: asyncio.StreamReader

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    async def head(self, status: int = 200, kind: str = "text/event-stream; charset=utf-8") -> None:
        """Begin a chunked response."""
        lines = [f"HTTP/1.1 {status} Said", f"Content-Type: {kind}", "Transfer-Encoding: chunked"]
        await self.raw(("\r\n".join(lines) + "\r\n\r\n").encode())

    async def chunk(self, data: bytes) -> None:
        await self.raw(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    async def end(self) -> None:
        await self.raw(b"0\r\n\r\n")

    async def raw(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def whole(
        self, status: int, body: object, kind: str = "application/json", headers: str = ""
    ) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        head = f"HTTP/1.1 {status} Said\r\nContent-Type: {kind}\r\nContent-Length: {len(data)}\r\n"
        await self.raw(head.encode() + headers.encode() + b"\r\n" + data)

    async def until_gone(self) -> None:
        """Until the client has closed the connection."""
        with suppress(ConnectionError):
            await self.reader.read()


Answer = Callable[[Request], Awaitable[None]]


@dataclass
class RawServer:
    """Answers the nth request with the nth of `answers`, the last one for all that follow."""

    answers: list[Answer]
    url: str = ""
    port: int = 0
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    open_connections: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number, self.connections = self.connections, self.connections + 1
        self.open_connections += 1
        try:
            while request := await self._read(number, reader, writer):
                self.requests.append(request)
                await self.answers[min(len(self.requests), len(self.answers)) - 1](request)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open_connections -= 1
            writer.close()

    @staticmethod
    async def _read(
        number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> Request | None:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").rstrip().split("\r\n")
        method, path, _ = first.split(" ", 2)
        pairs = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        return Request(method, path, headers, body, number, writer, reader)


@asynccontextmanager
async def raw_server(
    *answers: Answer, tls: ssl.SSLContext | None = None
) -> AsyncIterator[RawServer]:
    """A server on the loopback address; its connections are cut at the end."""
    server = RawServer(list(answers))
    tasks: set[asyncio.Task[None]] = set()
    writers: list[asyncio.StreamWriter] = []

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        task = asyncio.create_task(server.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    listening = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    server.url = f"https://localhost:{server.port}" if tls else f"http://127.0.0.1:{server.port}"
    try:
        yield server
    finally:
        listening.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0.01)  # for the transports to notice
