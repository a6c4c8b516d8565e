"""How much more the bridge can carry, measured: is its event loop in time?

All calls share one loop. When it is late their audio is, too; then one more call harms those that
there are.
"""

import asyncio
import time
from collections.abc import Callable

_EVERY_S = 0.1
_KEPT = 0.97
"""Of the worst delay from one look to the next: half of it is forgotten in about two seconds."""


class LoopLag:
    """Run :meth:`run` as a task of the loop that is measured.

    Args:
        observe: is told of each look how late it came, in seconds.
    """

    def __init__(self, observe: Callable[[float], object] = lambda late_s: None) -> None:
        self.worst_s = 0.0
        """Of late; fades."""
        self._observe = observe

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            due = time.monotonic() + _EVERY_S
            await asyncio.sleep(_EVERY_S)
            self.seen(time.monotonic() - due)

    def seen(self, late_s: float) -> None:
        self.worst_s = max(late_s, self.worst_s * _KEPT)
        self._observe(max(0.0, late_s))
