"""Tells systemd how the service is: ready, alive, stopping (sd_notify(3)).

For units of `Type=notify`, with `WatchdogSec=` if wanted. Without NOTIFY_SOCKET nothing is told.
"""

import asyncio
import os
import socket
from collections.abc import MutableMapping

import structlog

from services.shared.runtime.lifecycle import Lifecycle, Phase

log = structlog.get_logger(__name__)

_PINGS = 3
"""In the time after which systemd takes a service for hung, so that a busy machine may miss one."""
_STATUS_S = 5.0
"""How often the status line is renewed where no watchdog asks for more."""


class Supervisor:
    """The other end of NOTIFY_SOCKET.

    Args:
        address: path of a datagram socket, `@` for an abstract one; empty: there is nobody.
        watchdog_s: systemd restarts the service when it hears nothing for so long; 0: it does not.
    """

    def __init__(self, address: str = "", watchdog_s: float = 0.0) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog_s = watchdog_s

    @classmethod
    def of(cls, environ: MutableMapping[str, str]) -> "Supervisor":
        """As systemd says in the environment; removed there, since it is not for our children."""
        address = environ.pop("NOTIFY_SOCKET", "")
        watchdog_us = environ.pop("WATCHDOG_USEC", "")
        meant_for = environ.pop("WATCHDOG_PID", str(os.getpid()))
        mine = watchdog_us.isdigit() and meant_for == str(os.getpid())
        return cls(address, int(watchdog_us) / 1e6 if mine else 0.0)

    @property
    def listens(self) -> bool:
        return bool(self._address)

    def tell(self, *assignments: str) -> None:
        """Send `NAME=value` lines; never waits, and a supervisor that is gone is no fault."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
                line.setblocking(False)
                line.sendto("\n".join(assignments).encode(), self._address)
        except OSError as error:
            log.warning("systemd could not be told", error=str(error), told=assignments[0])


async def report(
    lifecycle: Lifecycle, listening: asyncio.Event, supervisor: Supervisor, stop_s: float
) -> None:
    """Tell the supervisor what happens, for ever; run as a task.

    Args:
        listening: set when connections are accepted; models load meanwhile.
        stop_s: how long stopping may take, whatever the unit says of it.
    """
    if not supervisor.listens:
        return
    async with asyncio.TaskGroup() as group:
        group.create_task(_tell_ready(lifecycle, listening, supervisor))
        group.create_task(_tell_stopping(lifecycle, supervisor, stop_s))
        group.create_task(_tell_failure(lifecycle, supervisor))
        group.create_task(_keep_alive(lifecycle, supervisor))


async def _tell_ready(
    lifecycle: Lifecycle, listening: asyncio.Event, supervisor: Supervisor
) -> None:
    await listening.wait()
    await lifecycle.ready.wait()
    supervisor.tell("READY=1", _status(lifecycle))


async def _tell_stopping(lifecycle: Lifecycle, supervisor: Supervisor, stop_s: float) -> None:
    await lifecycle.draining.wait()
    extend = f"EXTEND_TIMEOUT_USEC={round(stop_s * 1e6)}"
    supervisor.tell("STOPPING=1", extend, _status(lifecycle))


async def _tell_failure(lifecycle: Lifecycle, supervisor: Supervisor) -> None:
    await lifecycle.failed.wait()
    supervisor.tell(_status(lifecycle))


async def _keep_alive(lifecycle: Lifecycle, supervisor: Supervisor) -> None:
    """A ping says two things: the event loop runs, and no model hangs."""
    every_s = supervisor.watchdog_s / _PINGS or _STATUS_S
    while True:
        alive = ("WATCHDOG=1",) if supervisor.watchdog_s and not lifecycle.hung() else ()
        supervisor.tell(*alive, _status(lifecycle))
        await asyncio.sleep(every_s)


def _status(lifecycle: Lifecycle) -> str:
    """One line for `systemctl status`."""
    if lifecycle.failure:
        return f"STATUS={lifecycle.failure.splitlines()[0]}"
    if hung := lifecycle.hung():
        return f"STATUS=hung: {', '.join(hung)}"
    if lifecycle.phase is Phase.STARTING:
        return "STATUS=loading models"
    return f"STATUS={lifecycle.phase}, {lifecycle.sessions} sessions"
