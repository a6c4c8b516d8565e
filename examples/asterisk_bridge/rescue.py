"""What is left to do when a bridge died: its callers hear nothing until somebody does it."""

from typing import Never

from examples.asterisk_bridge.ari import Ari
from examples.asterisk_bridge.ari_events import Channel
from examples.asterisk_bridge.config import BridgeConfig
from examples.asterisk_bridge.registry import Registry


async def rescue(config: BridgeConfig) -> None:
    """Give all callers of a bridge that died to the fallback, and remove what it made.

    Raises:
        AriError: Asterisk cannot be asked.
    """

    def no_call(channel: Channel, args: tuple[str, ...]) -> Never:
        raise AssertionError("a rescuer takes no calls")

    none = config.calls.model_copy(update={"max_calls": 0})
    async with Ari(config.ari) as ari:
        registry = Registry(config.model_copy(update={"calls": none}), ari, no_call)
        await registry.reconcile()
        await registry.drain()
