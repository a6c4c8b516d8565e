"""What a process that carries calls tells of them: metrics, and whether it can take more.

Whatever carries the calls: calls are counted from what they write to their journals.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Histogram

from examples.voice_agent.load import LoopLag
from examples.voice_agent.ports import AgentTurn, CallEnded, Entry, Journal, Outcome

_REASONS = ("no_route", "closed", "unknown_agent", "service", "busy", "drained")
"""Why nobody takes a call: what its route says, the services, and who carries the calls."""
_ANSWER_S = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.25, 1.5, 2, 3, 5, 10, 30)
_LAG_S = (0.001, 0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.25, 0.5, 1)


class Vitals:
    """One for each process; :func:`observing` makes it."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry = registry or CollectorRegistry()
        self.checks: list[Callable[[], str | None]] = []
        """Each says what keeps calls from coming now, or None."""
        self.ended = Counter(
            "voice_calls_ended", "Calls that are over, by outcome", ["outcome"], registry=registry
        )
        for outcome in Outcome:  # from the start, so that a rate also sees the first one
            self.ended.labels(outcome.value)
        self.declined = Counter(
            "voice_calls_declined", "Calls that nobody took", ["reason"], registry=registry
        )
        for reason in _REASONS:
            self.declined.labels(reason)
        self.answer_s = Histogram(
            "voice_answer_seconds",
            "From a caller's last sound to the first audio of the answer",
            buckets=_ANSWER_S,
            registry=registry,
        )
        self.dropped_s = Counter(
            "voice_call_dropped_audio_seconds",
            "Audio of callers that was not read in time",
            registry=registry,
        )
        loop_lag = Histogram(
            "voice_event_loop_lag_seconds",
            "How late the event loop wakes",
            buckets=_LAG_S,
            registry=registry,
        )
        self.lag = LoopLag(loop_lag.observe)

    def troubles(self) -> list[str]:
        """What keeps calls from coming now."""
        return [trouble for check in self.checks if (trouble := check())]

    def dropping(self, bytes_per_s: float) -> Callable[[int], None]:
        """Counts bytes of a caller's audio that were dropped."""
        return lambda count: self.dropped_s.inc(count / bytes_per_s)

    def observed(self, journal: Journal) -> Journal:
        """The same journal; what is written to it is counted."""
        return _ObservedJournal(journal, self)

    def note(self, entry: Entry) -> None:
        if isinstance(entry, CallEnded):
            self.ended.labels(entry.outcome.value).inc()
        elif isinstance(entry, AgentTurn):
            asked_s, heard_s = entry.times.speech_end_s, entry.times.wire_first_s
            if asked_s is not None and heard_s is not None:
                self.answer_s.observe(heard_s - asked_s)


@dataclass(frozen=True, slots=True)
class _ObservedJournal:
    journal: Journal
    vitals: Vitals

    def write(self, entry: Entry) -> None:
        self.vitals.note(entry)
        self.journal.write(entry)


@asynccontextmanager
async def observing(
    given: Vitals | None = None, *, registry: CollectorRegistry | None = None
) -> AsyncIterator[Vitals]:
    """Those of the process; if there are none, new ones, and the task that watches the loop."""
    if given is not None:
        yield given
        return
    vitals = Vitals(registry)
    watching = asyncio.create_task(vitals.lag.run(), name="lag")
    try:
        yield vitals
    finally:
        watching.cancel()
        await asyncio.wait([watching])
