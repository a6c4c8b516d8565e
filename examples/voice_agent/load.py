"""How much more the bridge can carry, measured: is its event loop in time?

All calls share one loop. When it is late their audio is, too; then one more call harms those that
there are.
"""

import asyncio
import time

_EVERY_S = 0.1
_KEPT = 0.97
"""Of the worst delay from one look to the next: half of it is forgotten in about two seconds."""


class LoopLag:
    """Run :meth:`run` as a task of the loop that is measured."""

    def __init__(self) -> None:
        self.worst_s = 0.0
        """Of late; fades."""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            due = time.monotonic() + _EVERY_S
            await asyncio.sleep(_EVERY_S)
            self.seen(time.monotonic() - due)

    def seen(self, late_s: float) -> None:
        self.worst_s = max(late_s, self.worst_s * _KEPT)
