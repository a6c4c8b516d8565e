"""Tells systemd that the bridge is up and its event loop alive: sd_notify(3), `WatchdogSec=`.

A bridge that hangs is as bad for its callers as one that died, but only a watchdog notices it.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Mapping

import structlog

log = structlog.get_logger(__name__)

_PINGS = 4
"""Within the watchdog's time: a busy machine may miss some."""


@contextlib.asynccontextmanager
async def supervised(environment: Mapping[str, str] = os.environ) -> AsyncIterator[None]:
    """From "ready" to "stopping". Without systemd it does nothing."""
    address = environment.get("NOTIFY_SOCKET", "")
    watchdog_s = float(environment.get("WATCHDOG_USEC") or 0) / 1e6
    pinging = None
    _tell(address, "READY=1")
    if address and watchdog_s:
        pinging = asyncio.create_task(_ping(address, watchdog_s / _PINGS), name="watchdog")
    try:
        yield
    finally:
        _tell(address, "STOPPING=1")
        if pinging is not None:
            pinging.cancel()
            await asyncio.gather(pinging, return_exceptions=True)


async def _ping(address: str, every_s: float) -> None:
    while True:
        _tell(address, "WATCHDOG=1")
        await asyncio.sleep(every_s)


def _tell(address: str, message: str) -> None:
    """Never waits; a supervisor that is gone is no fault of ours."""
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.setblocking(False)
        try:
            line.sendto(message.encode(), address.replace("@", "\0", 1))
        except OSError as error:
            log.warning("systemd_not_told", why=str(error))
