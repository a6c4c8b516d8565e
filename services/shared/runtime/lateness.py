"""How late a model's urgent answers are, and how much of it they need. Pure; times are seconds.

Late is what an answer takes beyond its run on a machine with nothing else to do: the queue, and
whatever slows the run down. What an undisturbed run takes is known from the best pace so far, so
that a slow model is not taken for a late one.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

WINDOW_S = 5.0
_WEIGHT = 0.1
"""Of the newest batch in the pace: the memory is of about ten."""
_SETTLED = 10
"""Batches after which a pace is believed."""


class _Batch(NamedTuple):
    end: float
    run_s: float
    late_s: float
    """Of all its jobs together."""
    jobs: int


class Lateness:
    """Hears of every urgent batch; not thread-safe."""

    def __init__(self) -> None:
        self._pace = 0.0
        """Seconds for a unit of cost, lately."""
        self._best: float | None = None
        self._batches = 0
        self._ran: deque[_Batch] = deque()
        """Those of the window."""

    def ran(self, run_s: float, jobs: Sequence[tuple[float, float]], now: float) -> None:
        """A batch has been answered.

        Args:
            jobs: since when each had waited, and its cost.
        """
        self._learn(run_s, sum(cost for _, cost in jobs))
        late_s = sum(self._beyond(since, cost, now) for since, cost in jobs)
        self._ran.append(_Batch(now, run_s, late_s, len(jobs)))
        self._forget(now)

    def late_s(self, now: float, waiting: Iterable[tuple[float, float]]) -> float:
        """How late answers are now: on average of the window, or the latest that is awaited.

        Args:
            waiting: since when each unanswered job waits, and its cost.
        """
        self._forget(now)
        answers = sum(batch.jobs for batch in self._ran)
        mean = sum(batch.late_s for batch in self._ran) / answers if answers else 0.0
        return max([mean, *(self._beyond(since, cost, now) for since, cost in waiting)])

    def occupied_s(self, now: float) -> float:
        """Time that urgent batches ran within the window, summed over lanes."""
        self._forget(now)
        return sum(min(batch.run_s, WINDOW_S - (now - batch.end)) for batch in self._ran)

    def _beyond(self, since: float, cost: float, now: float) -> float:
        return max(0.0, now - since - (self._best or 0.0) * cost)

    def _learn(self, run_s: float, cost: float) -> None:
        if cost <= 0:
            return
        self._batches += 1
        pace = run_s / cost
        self._pace += (1.0 if self._batches == 1 else _WEIGHT) * (pace - self._pace)
        if self._best is None or self._batches < _SETTLED:
            self._best = self._pace
        else:
            self._best = min(self._best, self._pace)

    def _forget(self, now: float) -> None:
        while self._ran and now - self._ran[0].end > WINDOW_S:
            self._ran.popleft()
