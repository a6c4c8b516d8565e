"""The events socket of ARI: kept open for as long as the bridge lives, each event to its owner."""

import asyncio
import base64
import random
from collections import deque
from collections.abc import Awaitable, Callable
from urllib.parse import urlencode

import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from examples.asterisk_bridge.ari_events import (
    TERMINAL,
    ApplicationReplaced,
    Event,
    StasisStart,
    parse_event,
)
from examples.asterisk_bridge.config import AriConfig

log = structlog.get_logger(__name__)

EVENTS_OF_A_CALL = 256
"""Waiting for their call; a call reads them at once, so this is never reached in health."""
_STABLE_S = 5.0
"""A connection that lived so long was a good one: the next attempt is made without delay."""


class Subscription:
    """Events of the channels of one call, in order; bounded."""

    def __init__(self, limit: int = EVENTS_OF_A_CALL) -> None:
        self._events: deque[Event] = deque()
        self._limit = limit
        self._some = asyncio.Event()
        self.dropped = 0

    def put(self, event: Event) -> None:
        """An event that says that a channel is gone is never dropped."""
        if len(self._events) >= self._limit and not isinstance(event, TERMINAL):
            self.dropped += 1
            return
        self._events.append(event)
        self._some.set()

    async def get(self) -> Event:
        while not self._events:
            self._some.clear()
            await self._some.wait()
        return self._events.popleft()


class AriSocket:
    """Connects, pings, and connects again: with backoff and jitter, for ever.

    Args:
        on_start: a channel came that no call has subscribed to.
        on_connected: Asterisk may have lost or kept anything since last time: look. It runs beside
            the reading of events and is cancelled when the connection is lost.
        connected: is set while there is a connection.
    """

    def __init__(
        self,
        config: AriConfig,
        on_start: Callable[[StasisStart], None],
        on_connected: Callable[[], Awaitable[None]],
        connected: asyncio.Event | None = None,
    ) -> None:
        self._config = config
        self._on_start = on_start
        self._on_connected = on_connected
        self._owners: dict[str, Subscription] = {}
        self.connected = connected or asyncio.Event()
        self.connections = 0

    def subscribe(self, subscription: Subscription, *channel_ids: str) -> None:
        """From now on the events of these channels go there. Before they are made, that is."""
        for channel_id in channel_ids:
            self._owners[channel_id] = subscription

    def unsubscribe(self, *channel_ids: str) -> None:
        for channel_id in channel_ids:
            self._owners.pop(channel_id, None)

    @property
    def subscribed(self) -> int:
        return len(self._owners)

    async def run(self) -> None:
        """Until cancelled."""
        delay = self._config.reconnect_min_s
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                await self._connection()
                why = "closed by Asterisk"
            except (OSError, TimeoutError, InvalidHandshake, ConnectionClosed) as error:
                why = str(error) or type(error).__name__
            finally:
                self.connected.clear()
            if loop.time() - began > _STABLE_S:
                delay = self._config.reconnect_min_s
            log.warning("ari_lost", why=why, retry_s=round(delay, 1))
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))
            delay = min(delay * 2, self._config.reconnect_max_s)

    async def _connection(self) -> None:
        """One connection, to its end."""
        async with connect(
            self._url(),
            additional_headers={"Authorization": self._authorization()},
            open_timeout=self._config.request_s,
            close_timeout=1,
            ping_interval=self._config.ping_s,
            ping_timeout=self._config.ping_s,
            max_size=4 << 20,
            compression=None,
            proxy=None,
        ) as socket:
            self.connections += 1
            self.connected.set()
            log.info("ari_connected", app=self._config.app, connections=self.connections)
            look = asyncio.create_task(self._look(), name="ari-reconcile")
            try:
                await self._read(socket)
            finally:
                look.cancel()
                await asyncio.gather(look, return_exceptions=True)

    async def _look(self) -> None:
        try:
            await self._on_connected()
        except Exception:
            log.exception("reconcile_failed")

    async def _read(self, socket: ClientConnection) -> None:
        async for message in socket:
            try:
                event = parse_event(message)
            except ValueError as error:
                log.warning("ari_event_unreadable", why=str(error)[:200])
                continue
            self._dispatch(event)

    def _dispatch(self, event: Event) -> None:
        owner = self._owners.get(event.channel_id or "")
        if owner is not None:
            owner.put(event)
        elif isinstance(event, StasisStart):
            self._on_start(event)
        elif isinstance(event, ApplicationReplaced):
            log.error("application_replaced", app=event.application, hint="one name a bridge")

    def _url(self) -> str:
        base = str(self._config.url).rstrip("/").replace("http", "ws", 1)
        return f"{base}/ari/events?{urlencode({'app': self._config.app})}"

    def _authorization(self) -> str:
        user = f"{self._config.username}:{self._config.password.get_secret_value()}"
        return "Basic " + base64.b64encode(user.encode()).decode()
