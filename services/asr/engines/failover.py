"""When to try an engine that has failed again: a circuit breaker with back-off. Pure."""


class Breaker:
    """Closed: the engine is used. Open: it is not, until some time has passed; then it is tried.

    The first failure opens it, because every failure costs a caller time. While it is open one
    trial is let through each time the pause is over, and each trial that fails doubles the pause.

    Args:
        first_s: the pause after the first failure.
        longest_s: the longest pause, at once after a failure that lasts.
    """

    def __init__(self, first_s: float = 2.0, longest_s: float = 120.0) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._pause_s = 0.0
        self._until = 0.0
        self._trying = False

    @property
    def open(self) -> bool:
        return self._pause_s > 0

    @property
    def pause_s(self) -> float:
        """How long the engine is left alone at present; 0 while it is closed."""
        return self._pause_s

    def admits(self, now: float) -> bool:
        """May the engine be used? When open, a yes is one trial; the next is a pause later."""
        if not self.open:
            return True
        if now < self._until:
            return False
        self._until = now + self._pause_s
        self._trying = True
        return True

    def failed(self, now: float, *, lasting: bool = False) -> bool:
        """Note a failure; True when it opened the breaker."""
        opened = not self.open
        if self.open and not self._trying:
            return False  # others that were under way fail, too: nothing new
        self._trying = False
        wanted = self._longest_s if lasting else max(self._first_s, 2 * self._pause_s)
        self._pause_s = min(wanted, self._longest_s)
        self._until = now + self._pause_s
        return opened

    def succeeded(self) -> bool:
        """Note an answer; True when it closed the breaker."""
        closed = self.open
        self._pause_s, self._until, self._trying = 0.0, 0.0, False
        return closed
