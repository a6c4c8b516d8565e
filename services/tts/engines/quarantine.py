"""Which requests an engine's process is spared: those that it was lost with when nothing else ran.

A text that ends the process each time would otherwise use up the restarts that others need. Only a
loss with a single request at hand tells who did it. Pure: knows no process; bounded.
"""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass

from services.tts.engines.base import SynthesisRequest

_CAPACITY = 256
"""Requests that are remembered."""


def key_of(request: SynthesisRequest) -> bytes:
    """Equal for equal texts in the same voice; the text itself is not kept."""
    cloned = request.conditioning.id if request.conditioning else ""
    return hashlib.sha256(repr((request.text, request.voice, cloned)).encode()).digest()


@dataclass(slots=True)
class _AtHand:
    key: bytes | None
    running: bool = False


class Quarantine:
    """Times are those of a monotonic clock, in seconds.

    Args:
        window_s: for so long a loss counts.
        losses: so many, and the request is refused.
    """

    def __init__(self, window_s: float, losses: int = 2) -> None:
        self._window_s = window_s
        self._limit = losses
        self._at_hand: dict[int, _AtHand] = {}
        self._losses: OrderedDict[bytes, list[float]] = OrderedDict()

    def __len__(self) -> int:
        """Requests that are remembered."""
        return len(self._losses)

    def refuses(self, key: bytes, now: float) -> bool:
        recent = [at for at in self._losses.get(key, ()) if now - at < self._window_s]
        return len(recent) >= self._limit

    def begin(self, number: int, key: bytes | None) -> None:
        """The process is about to get a request; None: other work, which nobody is blamed for."""
        self._at_hand[number] = _AtHand(key)

    def running(self, number: int, running: bool) -> None:
        """The process was asked for some of it, or has answered."""
        if (held := self._at_hand.get(number)) is not None:
            held.running = running

    def end(self, number: int, *, whole: bool = False) -> None:
        """It is done; `whole`: to its end, which clears it of all that was thought of it."""
        held = self._at_hand.pop(number, None)
        if held is not None and held.key is not None and whole:
            self._losses.pop(held.key, None)

    def lost(self, now: float) -> None:
        """The process is gone, and with it all that was at hand."""
        held = list(self._at_hand.values())
        self._at_hand.clear()
        if len(held) != 1 or held[0].key is None or not held[0].running:
            return
        recent = [at for at in self._losses.pop(held[0].key, []) if now - at < self._window_s]
        self._losses[held[0].key] = [*recent, now][-self._limit :]
        if len(self._losses) > _CAPACITY:
            self._losses.popitem(last=False)
