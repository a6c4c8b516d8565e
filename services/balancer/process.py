"""nginx as a child process: in a folder of its own, in the foreground, stopped by its id."""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from services.balancer.plan import Plan
from services.balancer.render import render_whole
from services.shared.runtime.child import Child

_START_S = 10.0
_STOP_S = 10.0


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
        self._configuration = prefix / "nginx.conf"
        self._child = Child("nginx", stop_s=_STOP_S, on_line=on_line)

    @property
    def pid(self) -> int | None:
        """Of the master process."""
        return self._child.pid

    async def start(self, plan: Plan) -> None:
        """Check, start, and wait until it listens.

        Raises:
            BalancerFailed
        """
        await self._configure(plan)
        await self._child.start(
            await asyncio.to_thread(find_nginx),
            *("-p", str(self.prefix), "-e", "stderr", "-c", str(self._configuration)),
        )
        async with asyncio.timeout(_START_S):
            while not await asyncio.to_thread(self._is_open):
                if self._child.returncode is not None:
                    await self._child.heard_out()
                    raise self.failure()
                await asyncio.sleep(0.02)

    async def reload(self, plan: Plan) -> None:
        """Go on with another plan; sessions that are open stay where they are.

        Raises:
            BalancerFailed: nginx refuses it, and goes on with the old one.
        """
        await self._configure(plan)
        self._child.send_signal(signal.SIGHUP)

    async def ended(self) -> int:
        """Wait until it ends by itself; gives the exit code."""
        return await self._child.ended()

    async def stop(self) -> None:
        """End it, and every connection through it."""
        await self._child.stop()

    def failure(self) -> BalancerFailed:
        """What to say when it has ended."""
        return BalancerFailed(self._child.last_words())

    def _is_open(self) -> bool:
        """The process id is written when it listens; `nginx -t` has left an empty file."""
        try:
            return (self.prefix / "nginx.pid").read_text().strip() == str(self.pid)
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
