"""A child process with one owner: listened to while it runs, told to end, then killed."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Mapping

_LAST_LINES = 12
_LAST_WORDS_S = 2.0


class Child:
    """One program in the foreground, which logs to its standard error.

    Args:
        stop_s: how long it may take to end after SIGTERM.
        on_line: told every line that it logs.
    """

    def __init__(
        self, name: str, *, stop_s: float, on_line: Callable[[str], None] | None = None
    ) -> None:
        self.name = name
        self._stop_s = stop_s
        self._on_line = on_line
        self._process: asyncio.subprocess.Process | None = None
        self._listening: asyncio.Task[None] | None = None
        self._last: deque[str] = deque(maxlen=_LAST_LINES)

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def returncode(self) -> int | None:
        """None while it runs, and before it was started."""
        return self._process.returncode if self._process else None

    async def start(self, *command: str, environment: Mapping[str, str] | None = None) -> None:
        """Begin. `environment`: None: ours."""
        self._process = await asyncio.create_subprocess_exec(
            *command,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            # Ctrl-C in the terminal reaches only us; we tell it when to go.
            start_new_session=True,
        )
        self._listening = asyncio.create_task(self._listen(self._process))

    def send_signal(self, signal: int) -> None:
        assert self._process is not None
        self._process.send_signal(signal)

    async def ended(self) -> int:
        """Wait until it ends by itself; gives the exit code."""
        assert self._process is not None
        code = await self._process.wait()
        await self.heard_out()
        return code

    async def stop(self) -> None:
        """Tell it to end; kill it when that takes too long."""
        process = self._process
        if process is None:
            return
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(self._stop_s):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
        await self.heard_out()

    async def heard_out(self) -> None:
        """The last lines may arrive after the process has ended."""
        if self._listening is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._listening, _LAST_WORDS_S)

    def last_words(self) -> str:
        """What to say when it has ended."""
        words = "\n".join(self._last) or "it said nothing"
        return f"{self.name} ended with exit code {self.returncode}:\n{words}"

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        async for raw in process.stderr:
            line = raw.decode(errors="replace").rstrip()
            self._last.append(line)
            if self._on_line is not None:
                self._on_line(line)
