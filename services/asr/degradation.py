"""What an overloaded service gives up, in which order, and when it takes it back. Pure.

`now` is seconds, monotonic. One step at a time, up as well as down: first partials come as rarely
as they may, then finals are all that is decoded, then nobody new is let in. Finals are never given
up.
"""

import math
from dataclasses import dataclass
from enum import IntEnum

RISE_S = 0.5
"""How long answers must be late for the next step."""
_LONGEST_RETURN = 16
"""Times :attr:`Limits.return_s`."""
_RELAPSE_S = 30.0
"""A step up within this after a step back: it was taken back too early."""
_LONGEST_RETRY_S = 30
_CALM_S = 60.0
"""With nothing given up: the past is forgiven."""


class Level(IntEnum):
    """What is given up; each level includes those before it."""

    NORMAL = 0
    """Nothing. Each session asks for partials as often as they come quickly."""
    SPARSE = 1
    """Partials come as rarely as they may."""
    FINALS_ONLY = 2
    """No partials, and files wait. Finals are begun at pauses as ever: one that is not wanted any
    more leaves the queue, so while there is one that costs little."""
    REFUSING = 3
    """Nobody new is let in."""


@dataclass(frozen=True, slots=True)
class Limits:
    """From which lateness on what is given up, seconds."""

    sparse_s: float = 0.5
    finals_only_s: float = 1.0
    refuse_s: float = 2.0
    refuse_occupied: float = 0.9
    """Or, while finals are all that is decoded, from which share of the engine's time on that they
    and one more caller's would need."""

    return_s: float = 5.0
    """How long answers must be punctual for a step back; twice as long each time that this turned
    out too early."""

    def late_s(self, level: Level) -> float:
        """Lateness from which on this much is given up."""
        return (0.0, self.sparse_s, self.finals_only_s, self.refuse_s)[level]


class Degradation:
    """The present level. Feed it with :meth:`observe` several times a second."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._level = Level.NORMAL
        self._changed_at = -math.inf
        self._fell_at = -math.inf
        self._since: float | None = None
        """Since when it has been time for a step."""
        self._rising = False
        self._return_s = limits.return_s

    @property
    def level(self) -> Level:
        return self._level

    @property
    def retry_after_s(self) -> int:
        """When a caller who is refused may try again."""
        return min(_LONGEST_RETRY_S, math.ceil(self._return_s))

    def observe(self, late_s: float, occupied: float, now: float) -> Level:
        """Take note of the present state and give the level that follows.

        Args:
            late_s: how late finals are.
            occupied: share of the engine's time that finals would need with one caller more.
        """
        if self._level is Level.NORMAL and now - self._changed_at >= _CALM_S:
            self._return_s = self._limits.return_s
        up, down = self._too_much(late_s, occupied), self._enough(late_s, occupied)
        if not up and not down:
            self._since = None
        elif self._since is None or self._rising != up:
            self._since, self._rising = now, up
        elif now - max(self._since, self._changed_at) >= (RISE_S if up else self._return_s):
            self._step(1 if up else -1, now)
        return self._level

    def _too_much(self, late_s: float, occupied: float) -> bool:
        if self._level is Level.REFUSING:
            return False
        if self._level is Level.FINALS_ONLY and occupied >= self._limits.refuse_occupied:
            return True
        return late_s >= self._limits.late_s(Level(self._level + 1))

    def _enough(self, late_s: float, occupied: float) -> bool:
        """Clearly less than what led to this level."""
        if self._level is Level.NORMAL:
            return False
        if self._level is Level.REFUSING and occupied >= 0.8 * self._limits.refuse_occupied:
            return False
        return late_s < self._limits.late_s(self._level) / 2

    def _step(self, by: int, now: float) -> None:
        if by > 0 and now - self._fell_at < _RELAPSE_S:
            self._return_s = min(2 * self._return_s, _LONGEST_RETURN * self._limits.return_s)
            self._fell_at = -math.inf  # counted once
        if by < 0:
            self._fell_at = now
        self._level = Level(self._level + by)
        self._changed_at, self._since = now, None
