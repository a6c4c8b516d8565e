"""nginx as a child process: in a folder of its own, in the foreground, stopped by its id."""

import asyncio
import contextlib
import os
import shutil
import signal
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from services.balancer.plan import Plan
from services.balancer.render import render_whole

_START_S = 10.0
_STOP_S = 10.0
_LAST_LINES = 12


class BalancerFailed(Exception):
    """nginx is missing, refused its configuration or ended; the sentence has its last words."""


def find_nginx() -> str:
    """Path of the program.

    Raises:
        BalancerFailed: it is not installed.
    """
    places = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    program = shutil.which("nginx", path=places)
    if program is None:
        raise BalancerFailed("nginx is not installed (Debian, Ubuntu: apt-get install nginx-light)")
    return program


async def check_configuration(path: Path, prefix: Path) -> None:
    """`nginx -t` of a whole configuration.

    Raises:
        BalancerFailed: with what nginx says.
    """
    program = await asyncio.to_thread(find_nginx)
    process = await asyncio.create_subprocess_exec(
        *(program, "-t", "-q", "-p", str(prefix), "-e", "stderr", "-c", str(path)),
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(_START_S):
        _, said = await process.communicate()
    if process.returncode != 0:
        raise BalancerFailed(f"nginx refuses its configuration:\n{said.decode().strip()}")


class Balancer:
    """One running nginx; :func:`balancing` makes it."""

    def __init__(
        self, prefix: Path, *, workers: int = 2, on_line: Callable[[str], None] | None = None
    ) -> None:
        self.prefix = prefix
        self._workers = workers
        self._on_line = on_line
        self._configuration = prefix / "nginx.conf"
        self._process: asyncio.subprocess.Process | None = None
        self._listening: asyncio.Task[None] | None = None
        self._last: deque[str] = deque(maxlen=_LAST_LINES)

    @property
    def pid(self) -> int | None:
        """Of the master process."""
        return self._process.pid if self._process else None

    async def start(self, plan: Plan) -> None:
        """Check, start, and wait until it listens.

        Raises:
            BalancerFailed
        """
        await self._configure(plan)
        self._process = await asyncio.create_subprocess_exec(
            await asyncio.to_thread(find_nginx),
            *("-p", str(self.prefix), "-e", "stderr", "-c", str(self._configuration)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            # Ctrl-C in the terminal reaches only us; we tell it when to go.
            start_new_session=True,
        )
        self._listening = asyncio.create_task(self._listen(self._process))
        async with asyncio.timeout(_START_S):
            while not await asyncio.to_thread(self._is_open, self._process.pid):
                if self._process.returncode is not None:
                    await self._heard_out()
                    raise self.failure()
                await asyncio.sleep(0.02)

    async def reload(self, plan: Plan) -> None:
        """Go on with another plan; sessions that are open stay where they are.

        Raises:
            BalancerFailed: nginx refuses it, and goes on with the old one.
        """
        await self._configure(plan)
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    async def ended(self) -> int:
        """Wait until it ends by itself; gives the exit code."""
        assert self._process is not None
        code = await self._process.wait()
        await self._heard_out()
        return code

    async def stop(self) -> None:
        """End it, and every connection through it."""
        process = self._process
        if process is None:
            return
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(_STOP_S):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
        await self._heard_out()

    def failure(self) -> BalancerFailed:
        """What to say when it has ended."""
        code = self._process.returncode if self._process else None
        words = "\n".join(self._last) or "it said nothing"
        return BalancerFailed(f"nginx ended with exit code {code}:\n{words}")

    def _is_open(self, pid: int) -> bool:
        """The process id is written when it listens; `nginx -t` has left an empty file."""
        try:
            return (self.prefix / "nginx.pid").read_text().strip() == str(pid)
        except FileNotFoundError:
            return False

    async def _configure(self, plan: Plan) -> None:
        wanted = self.prefix / "nginx.conf.new"
        await asyncio.to_thread(self._write, plan, wanted)
        await check_configuration(wanted, self.prefix)
        await asyncio.to_thread(wanted.replace, self._configuration)

    def _write(self, plan: Plan, path: Path) -> None:
        # Workers of root's nginx would be somebody else, who cannot enter a folder of root's.
        user = "root" if os.geteuid() == 0 else None
        text = render_whole(plan, self.prefix, workers=self._workers, user=user)
        path.write_text(text, encoding="utf-8")

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        async for raw in process.stderr:
            line = raw.decode(errors="replace").rstrip()
            self._last.append(line)
            if self._on_line is not None:
                self._on_line(line)

    async def _heard_out(self) -> None:
        if self._listening is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._listening, 2.0)


@asynccontextmanager
async def balancing(
    plan: Plan,
    prefix: Path,
    *,
    workers: int = 2,
    on_line: Callable[[str], None] | None = None,
) -> AsyncIterator[Balancer]:
    """nginx in front of the instances, until the block ends.

    Args:
        prefix: an existing folder, absolute, for its files.

    Raises:
        BalancerFailed
    """
    balancer = Balancer(prefix, workers=workers, on_line=on_line)
    try:
        await balancer.start(plan)
        yield balancer
    finally:
        await balancer.stop()
