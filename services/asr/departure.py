"""When a session of a draining service should go. Pure; `now` is seconds, monotonic.

Best in a silence between turns, in which nothing is lost by it: the client goes on elsewhere. A
session that has none until the drain is over goes at the speaker's next pause, or where it is.
"""

SPREAD_S = 1.0
"""Silent sessions go one after the other within this, lest all knock at the next door at once."""
_REST_S = 0.5
"""A silence that is long enough to go in."""
_PAUSE_S = 2.0
"""How long a speaker's pause is waited for when the drain is over."""


class Departure:
    """Asked again and again while the service drains.

    Args:
        earliest: when the session may go if it rests.
    """

    def __init__(self, earliest: float) -> None:
        self._earliest = earliest
        self._resting_since: float | None = None
        self._closing_since: float | None = None

    def due(self, *, resting: bool, speaking: bool, closing: bool, now: float) -> bool:
        """Should the session go now?

        Args:
            resting: no turn is open, no answer owed, nothing unheard.
            speaking: somebody speaks and does not pause.
            closing: the drain is over.
        """
        if closing and self._closing_since is None:
            self._closing_since = now
        if not resting:
            self._resting_since = None
        elif self._resting_since is None:
            self._resting_since = now
        if self._closing_since is not None:
            return not speaking or now - self._closing_since >= _PAUSE_S
        rested = self._resting_since is not None and now - self._resting_since >= _REST_S
        return rested and now >= self._earliest
