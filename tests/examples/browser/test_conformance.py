"""A web page's call does for a conversation what a telephone line does.

The page is played by this test, over a real WebSocket; the real one is in test_browser.py.
"""

import asyncio
import json
import socket
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from examples.asterisk_bridge.echo import tone
from examples.browser.transport import FORMAT, BrowserTransport
from examples.voice_agent.transport import CallInfo
from services.shared.audio.pcm import Floats
from tests.examples.call_conformance import *  # noqa: F403 - these are the tests
from tests.examples.call_conformance import Converse, Phone, PlaceCall, Script
from tests.examples.playing import next_frame
from tests.services.serving import eventually

# A page can neither be transferred nor given back.
del test_a_call_that_leaves_us_tells_its_end  # noqa: F821
del test_a_call_is_given_back_to_where_it_came_from  # noqa: F821

pytestmark = pytest.mark.slow

_FRAME = FORMAT.bytes_per_s // 50


class FakePage:
    """What static/worklets.js does, in frames of 20 ms."""

    rate = FORMAT.sample_rate

    def __init__(self, line: ClientConnection) -> None:
        self._line = line
        self._queue: deque[bytearray | str] = deque()
        self._speech = bytearray()
        self._paused = False
        self._done = 0
        self._played = bytearray()
        self._began = time.monotonic()
        self.answered_s: float | None = None
        self.over = asyncio.Event()
        self.hung_up_by_us = False

    @property
    def heard(self) -> Floats:
        return FORMAT.decode(bytes(self._played))

    def now_s(self) -> float:
        return time.monotonic() - self._began

    def speak(self, seconds: float, hertz: float) -> None:
        self._speech += tone(FORMAT, seconds, hertz)

    async def press(self, key: str) -> None:
        await self._line.send(json.dumps({"type": "digit", "digit": key}))

    async def hang_up(self) -> None:
        self.hung_up_by_us = True
        await self._line.close()

    async def listen(self) -> None:
        try:
            async for message in self._line:
                if isinstance(message, bytes):
                    self._queue.append(bytearray(message))
                else:
                    self._told(json.loads(message))
        finally:
            self.over.set()

    def _told(self, message: dict[str, str]) -> None:
        match message["type"]:
            case "answered":
                self.answered_s = self.now_s()
            case "mark":
                self._queue.append(message["name"])
            case "pause":
                self._paused = True
            case "resume":
                self._paused = False
            case "flush":
                self._done += sum(len(each) for each in self._queue if not isinstance(each, str))
                self._queue.clear()
                self._paused = False
            case "ended":
                self.over.set()

    async def play(self) -> None:
        frames = 0
        while not self.over.is_set():
            frames += 1
            await asyncio.sleep(self._began + frames * 0.02 - time.monotonic())
            try:
                await self._play_frame()
            except ConnectionClosed:
                return

    async def _play_frame(self) -> None:
        frame, marks = next_frame(self._queue, 0 if self._paused else _FRAME)
        self._done += len(frame)
        self._played += frame.ljust(_FRAME, b"\0")
        for name in marks:
            await self._line.send(json.dumps({"type": "mark", "name": name}))
        await self._line.send(json.dumps({"type": "played", "samples": self._done // 2}))
        said = bytes(self._speech[:_FRAME])
        del self._speech[:_FRAME]
        await self._line.send(said.ljust(_FRAME, b"\0"))


@pytest.fixture
def place_call() -> PlaceCall:
    @asynccontextmanager
    async def place(converse: Converse) -> AsyncIterator[Phone]:
        async def call(websocket: WebSocket) -> None:
            await websocket.accept()
            line = BrowserTransport(websocket, CallInfo("c", "caller", "1000"))
            reading = asyncio.create_task(line.run())
            await converse(line)
            reading.cancel()
            await asyncio.wait([reading])

        app = Starlette(routes=[WebSocketRoute("/call", call)])
        listener = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
        serving = asyncio.create_task(server.serve([listener]))
        await eventually(lambda: server.started)
        address = f"ws://127.0.0.1:{listener.getsockname()[1]}/call"
        async with connect(address, proxy=None) as line:
            page = FakePage(line)
            tasks = [asyncio.create_task(work) for work in (page.listen(), page.play())]
            await eventually(lambda: page.answered_s is not None)
            yield page
        await asyncio.wait(tasks)
        server.should_exit = True
        await serving
        listener.close()

    return place


async def test_a_page_that_says_nonsense_keeps_its_call(place_call: PlaceCall) -> None:
    script = Script()
    async with place_call(script) as call:
        line = await script.line()
        assert isinstance(call, FakePage)
        for nonsense in ("{", "[]", "null", "[" * 9000, '{"type":"played"}', '{"type":"digit"}'):
            await call._line.send(nonsense)
        await call._line.send('{"type":"played","samples":1e999}')
        await call.press("7")
        await eventually(lambda: bool(script.events))
        with pytest.raises(ValueError, match="cannot be transferred"):
            await line.transfer("2000")
        await line.hang_up()
    assert len(script.events) == 2
