"""The running bridge: ARI, its events and the calls, as one context."""

import asyncio
import contextlib
import importlib
from collections.abc import AsyncIterator
from typing import cast

import structlog
from prometheus_client import Gauge

from examples.asterisk_bridge.ari import Ari, AriError
from examples.asterisk_bridge.ari_events import Channel, StasisStart
from examples.asterisk_bridge.ari_socket import AriSocket
from examples.asterisk_bridge.calls import Call, call_info
from examples.asterisk_bridge.config import BridgeConfig
from examples.asterisk_bridge.giving_back import Outcome
from examples.asterisk_bridge.media.choice import MediaFactory, choose_media
from examples.asterisk_bridge.registry import Registry
from examples.voice_agent.transport import Conversation, NotesRefusals
from examples.voice_agent.vitals import Vitals, observing
from examples.voice_agent.yaml_settings import ConfigError

log = structlog.get_logger(__name__)

_ASK_S = 2.0
"""Between two attempts while Asterisk is not there yet."""


class Bridge:
    """Made by :func:`running_bridge`.

    Args:
        connected: set while Asterisk tells its events.
    """

    def __init__(
        self,
        config: BridgeConfig,
        ari: Ari,
        make_media: MediaFactory,
        converse: Conversation,
        vitals: Vitals | None = None,
        connected: asyncio.Event | None = None,
    ) -> None:
        self._config = config
        self._ari = ari
        self._make_media = make_media
        self._converse = converse
        self.vitals = vitals = vitals or Vitals()
        self.registry = Registry(
            config, ari, self._make_call, lambda: vitals.lag.worst_s, self._note_refused
        )
        self.socket = AriSocket(config.ari, self._on_start, self.registry.reconcile, connected)

    def _make_call(self, channel: Channel, args: tuple[str, ...]) -> Call:
        return Call(
            channel,
            args,
            config=self._config,
            ari=self._ari,
            socket=self.socket,
            make_media=self._make_media,
            converse=self._converse,
            vitals=self.vitals,
        )

    def _note_refused(self, channel: Channel, args: tuple[str, ...], why: Outcome) -> None:
        if isinstance(self._converse, NotesRefusals):
            self._converse.refused(call_info(channel.id, channel, args), why)

    def _on_start(self, event: StasisStart) -> None:
        self.registry.on_start(event)


@contextlib.asynccontextmanager
async def running_bridge(
    config: BridgeConfig, converse: Conversation, vitals: Vitals | None = None
) -> AsyncIterator[Bridge]:
    """Takes calls from entering to leaving. Leaving drains: see `calls.drain_s`.

    Waits for an Asterisk that is not there yet.

    Args:
        vitals: of the process; None: nobody looks at them.
    """
    async with observing(vitals) as vitals, Ari(config.ari) as ari:
        connected = watched_connection(vitals)
        media = await _media_when_there(config, ari)
        bridge = Bridge(config, ari, media, converse, vitals, connected)
        tasks = [
            asyncio.create_task(bridge.socket.run(), name="ari-socket"),
            asyncio.create_task(bridge.registry.sweep(), name="sweeper"),
        ]
        try:
            yield bridge
        finally:
            await bridge.registry.drain()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def watched_connection(vitals: Vitals) -> asyncio.Event:
    """Set it while Asterisk is there."""
    connected = asyncio.Event()
    told = Gauge("voice_asterisk_connected", "1: it tells its events", registry=vitals.registry)
    told.set_function(lambda: float(connected.is_set()))
    vitals.checks.append(lambda: None if connected.is_set() else "Asterisk is away")
    return connected


async def _media_when_there(config: BridgeConfig, ari: Ari) -> MediaFactory:
    while True:
        try:
            return await choose_media(config, ari)
        except AriError as error:
            log.warning("asterisk_is_not_there", why=str(error), retry_s=_ASK_S)
            await asyncio.sleep(_ASK_S)


def load_conversation(name: str) -> Conversation:
    """`module:callable`, imported.

    Raises:
        ConfigError: there is none.
    """
    module, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"conversation.factory {name}: {error}") from None
    if not callable(found):
        raise ConfigError(f"conversation.factory {name} cannot be called")
    return cast(Conversation, found)
