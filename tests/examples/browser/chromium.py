"""A real Chromium whose microphone is a file, driven over its DevTools protocol."""

import asyncio
import contextlib
import itertools
import json
import os
import shutil
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect

START_S = 30.0


def program() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser")


class Page:
    """One tab."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)

    async def command(self, method: str, **parameters: Any) -> Any:
        number = next(self._numbers)
        await self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        async with asyncio.timeout(10):
            while True:
                answer = json.loads(await self._socket.recv())
                if answer.get("id") == number:
                    assert "error" not in answer, answer
                    return answer["result"]

    async def evaluate(self, expression: str) -> Any:
        """The value of JavaScript, as by a visitor's own hand."""
        done = await self.command(
            "Runtime.evaluate",
            expression=expression,
            awaitPromise=True,
            returnByValue=True,
            userGesture=True,
        )
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    async def until(self, expression: str, limit_s: float = 20.0) -> Any:
        """Wait for an expression to become true; gives its value."""
        async with asyncio.timeout(limit_s):
            while not (value := await self.evaluate(expression)):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            return value


@contextlib.asynccontextmanager
async def visiting(url: str, microphone: Path, folder: Path) -> AsyncIterator[Page]:
    """A page, opened.

    Args:
        microphone: WAV, repeated for ever.
        folder: for the browser's own files.
    """
    path = program()
    assert path is not None
    process = await asyncio.create_subprocess_exec(
        path,
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--no-proxy-server",
        "--remote-debugging-port=0",
        f"--user-data-dir={folder}",
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-audio-capture={microphone}",
        url,
        stdout=DEVNULL,
        stderr=DEVNULL,
        env=os.environ | {"HOME": str(folder)},
        start_new_session=True,
    )
    try:
        async with connect(await _tab(folder, url), max_size=None, proxy=None) as socket:
            yield Page(socket)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        await process.wait()


async def _tab(folder: Path, url: str) -> str:
    """Address of the tab's debugger."""
    async with asyncio.timeout(START_S), httpx.AsyncClient(trust_env=False) as http:
        while True:
            with contextlib.suppress(OSError, httpx.HTTPError, IndexError):
                told = await asyncio.to_thread((folder / "DevToolsActivePort").read_text)
                tabs = (await http.get(f"http://127.0.0.1:{told.split()[0]}/json/list")).json()
                for tab in tabs:
                    if tab["type"] == "page" and tab["url"].startswith(url):
                        return str(tab["webSocketDebuggerUrl"])
            await asyncio.sleep(0.1)
