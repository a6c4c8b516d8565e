"""How a caller is given back to the dial plan, and the names of what one bridge makes.

Also for a rescue, which has callers waiting for it: this imports little.
"""

import contextlib
from enum import StrEnum

from examples.asterisk_bridge.ari import Ari, AriRefused

OUTCOME_VARIABLE = "VA_OUTCOME"
"""Tells the dial plan behind Stasis() why it has the call back."""


class Outcome(StrEnum):
    """What became of a call, in the log and for the dial plan."""

    ENDED = "ended"
    FAILED = "failed"
    """Of the conversation, its media or the setup: the caller went to the fallback."""
    BUSY = "busy"
    """Never taken."""
    DECLINED = "declined"
    """The conversation would not have it: no agent is responsible, or none is free."""
    DRAINED = "drained"
    """The bridge ended first: the caller went to the fallback."""
    LOST = "lost"
    """Asterisk no longer had it, or its bridge died."""


class Prefixes:
    """Of the ids of what one application makes; its name tells it from another bridge's."""

    def __init__(self, app: str) -> None:
        self.media = f"{app}-m-"
        self.bridge = f"{app}-b-"


async def send_to_fallback(ari: Ari, channel_id: str, outcome: Outcome, context: str = "") -> None:
    """Give a caller back to the dial plan, and tell it why.

    Raises:
        AriError: it could not be done.
    """
    with contextlib.suppress(AriRefused):
        await ari.set_variable(channel_id, OUTCOME_VARIABLE, outcome)
    if context:
        await ari.continue_in_dialplan(channel_id, context=context, extension="s", priority=1)
    else:
        await ari.continue_in_dialplan(channel_id)
