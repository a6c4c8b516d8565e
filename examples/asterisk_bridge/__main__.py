"""Run the bridge: `python -m examples.asterisk_bridge [--config FILE] [--rescue]`."""

import argparse
import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from examples.asterisk_bridge.ari import AriError
from examples.asterisk_bridge.config import BridgeConfig, load_config
from examples.asterisk_bridge.rescue import rescue
from examples.asterisk_bridge.supervision import supervised
from examples.voice_agent.logs import configure_logging
from examples.voice_agent.stopping import told_to_end
from examples.voice_agent.yaml_settings import ConfigError

if TYPE_CHECKING:
    from examples.voice_agent.transport import Conversation
    from examples.voice_agent.vitals import Vitals

AGENTS = "agents"
"""`conversation.factory` when it is this and no `module:callable`."""

log = structlog.get_logger(__name__)


async def serve(config: BridgeConfig) -> None:
    """Until SIGTERM or SIGINT."""
    stopping, ready = told_to_end(), asyncio.Event()
    carrying = asyncio.create_task(_carry_calls(config, ready, stopping), name="bridge")
    stopped = asyncio.create_task(stopping.wait(), name="stopping")
    await asyncio.wait([carrying, stopped], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not ready.is_set():
        carrying.cancel()  # it may be waiting for an Asterisk that never comes
    with contextlib.suppress(asyncio.CancelledError):
        await carrying


async def _carry_calls(config: BridgeConfig, ready: asyncio.Event, stopping: asyncio.Event) -> None:
    # Much to import, which a rescue, with callers waiting for it, can do without.
    from examples.asterisk_bridge.bridge import running_bridge
    from examples.voice_agent.vitals import observing

    async with (
        observing() as vitals,
        conversing(config, vitals) as converse,
        supervised(),
        running_bridge(config, converse, vitals),
    ):
        ready.set()
        log.info("bridge_ready", app=config.ari.app, media=config.media.kind)
        await stopping.wait()
        log.info("bridge_drains", seconds=config.calls.drain_s)


@contextlib.asynccontextmanager
async def conversing(
    config: BridgeConfig, vitals: "Vitals | None" = None
) -> AsyncIterator["Conversation"]:
    """What the configuration says that talks to callers, with all that it needs.

    Args:
        vitals: of the process, for agents to show.

    Raises:
        ConfigError: there is no such thing, or it cannot be opened.
    """
    factory = config.conversation.factory
    if factory == AGENTS:
        async with _agents(config, vitals) as converse:
            yield converse
    else:
        from examples.asterisk_bridge.bridge import load_conversation

        yield load_conversation(factory)


@contextlib.asynccontextmanager
async def _agents(config: BridgeConfig, vitals: "Vitals | None") -> AsyncIterator["Conversation"]:
    from examples.asterisk_bridge.media.base import FORMATS
    from examples.voice_agent.agent_calls import agent_calls
    from examples.voice_agent.store.errors import StoreError

    async with contextlib.AsyncExitStack() as stack:
        opening = agent_calls(config.agents, FORMATS[config.media.format].audio, vitals)
        try:
            calls = await stack.enter_async_context(opening)
        except StoreError as error:
            raise ConfigError(str(error)) from None
        yield calls


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 0 fine, 1 Asterisk, 2 configuration."""
    parser = argparse.ArgumentParser(prog="python -m examples.asterisk_bridge", description=__doc__)
    parser.add_argument("--config", type=Path, help="default: config.yaml beside the program")
    parser.add_argument(
        "--rescue",
        action="store_true",
        help="give the callers of a bridge that died to the fallback, and end",
    )
    given = parser.parse_args(arguments)
    try:
        config = load_config(given.config)
        configure_logging(config.log)
        asyncio.run(rescue(config) if given.rescue else serve(config))
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except AriError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
