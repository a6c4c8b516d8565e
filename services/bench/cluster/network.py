"""A network that loses packets: two ends of a cable, one of them in a namespace of its own."""

import asyncio
import ctypes
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

HOST, GUEST = "10.213.77.1", "10.213.77.2"
NETWORK = "10.213.77.0/30"
LOSS_PERCENT = 2.0
DELAY_MS = 30
"""Each way, where the kernel has netem."""

_CLONE_NEWNET = 0x40000000
_NAMESPACE = "voice-bench"
_CABLE = ("voice-b0", "voice-b1")
_TOOL_S = 10.0


class CannotBeDone(Exception):
    """Not on this machine; the sentence says why."""


@dataclass(frozen=True, slots=True)
class LossyNetwork:
    """One end is here at `HOST`, the other in the namespace at `GUEST`."""

    does: str
    """What it does to packets, in words."""

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Sockets that this thread opens in the block are at the other end, for their whole life.

        Raises:
            OSError
        """
        with (
            Path("/proc/thread-self/ns/net").open() as home,
            Path("/var/run/netns", _NAMESPACE).open() as away,
        ):
            _enter(away.fileno())
            try:
                yield
            finally:
                _enter(home.fileno())


def missing_for_network() -> str | None:
    """Why no such network can be made here, as far as can be told without trying."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None or shutil.which("tc") is None:
        return "iproute2 is not installed"
    return None


@asynccontextmanager
async def lossy_network() -> AsyncIterator[LossyNetwork]:
    """Make it, and take it away at the end.

    Raises:
        CannotBeDone: with what the system says.
    """
    await _forget()
    try:
        await _tool("ip", "netns", "add", _NAMESPACE)
        here, there = _CABLE
        await _tool("ip", "link", "add", here, "type", "veth", "peer", "name", there)
        await _tool("ip", "link", "set", there, "netns", _NAMESPACE)
        await _tool("ip", "addr", "add", f"{HOST}/30", "dev", here)
        await _tool("ip", "link", "set", here, "up")
        await _guest("ip", "addr", "add", f"{GUEST}/30", "dev", there)
        await _guest("ip", "link", "set", there, "up")
        yield LossyNetwork(await _spoil())
    finally:
        await _forget()


async def _spoil() -> str:
    """Lose packets in both directions: by netem, else by the packet filter."""
    here, there = _CABLE
    netem = ("root", "netem", "delay", f"{DELAY_MS}ms", "5ms", "loss", f"{LOSS_PERCENT}%")
    try:
        await _tool("tc", "qdisc", "add", "dev", here, *netem)
        await _guest("tc", "qdisc", "add", "dev", there, *netem)
    except CannotBeDone:
        chance = ("-m", "statistic", "--mode", "random", "--probability", str(LOSS_PERCENT / 100))
        await _guest("iptables", "-A", "INPUT", *chance, "-j", "DROP")
        await _guest("iptables", "-A", "OUTPUT", *chance, "-j", "DROP")
        return f"{LOSS_PERCENT:g} % of packets lost each way (no netem here, so without delay)"
    return f"{LOSS_PERCENT:g} % of packets lost and {DELAY_MS} ms of delay each way (netem)"


async def _guest(*words: str) -> None:
    await _tool("ip", "netns", "exec", _NAMESPACE, *words)


async def _forget() -> None:
    with suppress(CannotBeDone):
        await _tool("ip", "link", "del", _CABLE[0])
    with suppress(CannotBeDone):
        await _tool("ip", "netns", "del", _NAMESPACE)


async def _tool(*words: str) -> None:
    try:
        process = await asyncio.create_subprocess_exec(
            *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
    except OSError as error:
        raise CannotBeDone(f"{words[0]}: {error.strerror}") from None
    async with asyncio.timeout(_TOOL_S):
        said, _ = await process.communicate()
    if process.returncode != 0:
        raise CannotBeDone(f"{' '.join(words)}: {said.decode(errors='replace').strip()}")


def _enter(descriptor: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.setns(descriptor, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
