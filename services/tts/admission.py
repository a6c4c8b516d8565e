"""Predicts how long a new listener would wait for audio, and refuses before anybody stutters.

Pure: `now` (seconds, monotonic) comes with every call. The engine serves whoever runs dry first,
so a new listener waits for the work that is due before its own. And there must be time left for
everybody who listens: what is due within the next seconds must fit into them. What does not fit, a
newcomer would have to leave room for by beginning later; its demand is small, so that takes long.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from services.shared.protocol.base import ErrorCode, ProtocolError

FIRST_AUDIO_TARGET_S = 0.3
"""A newcomer's first audio is due this long after it was asked for: whoever would run dry before
goes first, all others wait. About as long as its first piece sounds, so that a crowd of newcomers
does not make each other run dry: silence before speech is better than within."""
_BACKLOG_SPANS_S = (0.0, 0.2, 0.5)
_DEMAND_SPANS_S = (1.0, 2.0, 4.0)
_LONGEST_S = 60.0
_TYPICAL_S = 4.0
"""Audio that a newcomer is expected to ask for."""
_EXPECTED_FOR_S = 1.0
"""How long an admitted newcomer is counted before its text is there."""
_WEIGHT = 0.1
"""Of the newest measurement."""
_LONGEST_RETRY_S = 30


class Average:
    """A moving average of about the last ten values."""

    def __init__(self) -> None:
        self._value: float | None = None

    def add(self, value: float) -> None:
        known = value if self._value is None else self._value
        self._value = known + _WEIGHT * (value - known)

    @property
    def value(self) -> float:
        return self._value or 0.0


class Cost:
    """What an engine's work takes, measured."""

    def __init__(self) -> None:
        self._first_s = Average()
        self._per_second = Average()
        self._piece_s = Average()

    def learn(self, *, first: bool, run_s: float, audio_s: float) -> None:
        """A piece of so much audio was made."""
        self._piece_s.add(run_s)
        if first:
            self._first_s.add(run_s)
        elif audio_s > 0:
            self._per_second.add(run_s / audio_s)

    @property
    def first_s(self) -> float:
        """Until the first piece of a stream."""
        return self._first_s.value

    @property
    def per_second(self) -> float:
        """For a second of audio after the first piece: the real-time factor."""
        return self._per_second.value

    @property
    def piece_s(self) -> float:
        return self._piece_s.value


@dataclass(slots=True, eq=False)
class Demand:
    """One stream that an engine is speaking."""

    deadline: float
    """When its listener needs the next piece."""
    remaining_s: float
    """Audio still to be made, estimated."""
    begun: bool = False


class EngineLoad:
    """What an engine has to do, and what that means for a newcomer.

    Args:
        lanes: streams that the engine works on at the same time.
    """

    def __init__(self, lanes: int = 1) -> None:
        self.cost = Cost()
        self._lanes = lanes
        self._streams: set[Demand] = set()
        self._expected: dict[str, float] = {}

    @property
    def idle(self) -> bool:
        """Nobody is spoken for nor expected."""
        return not self._streams and not self._expected

    def open(self, demand: Demand) -> None:
        self._streams.add(demand)

    def close(self, demand: Demand) -> None:
        self._streams.discard(demand)

    def expect(self, session_id: str, now: float) -> None:
        """A newcomer was let in, whose text is not there yet."""
        self._expected[session_id] = now + _EXPECTED_FOR_S

    def forget(self, session_id: str) -> None:
        """It has come, or will not."""
        self._expected.pop(session_id, None)

    def first_audio_s(self, now: float) -> float:
        """Predicted time from a newcomer's text to its first audio."""
        self._expected = {who: until for who, until in self._expected.items() if until >= now}
        if self.idle:
            return self.cost.first_s
        backlog_s = max(self._excess(span, now) for span in _BACKLOG_SPANS_S)
        excess_s = max(self._excess(span, now) for span in _DEMAND_SPANS_S)
        wait_s = max(0.0, backlog_s, excess_s / max(self.cost.per_second, 1e-3))
        return self.cost.first_s + min(wait_s, _LONGEST_S)

    def _excess(self, span: float, now: float) -> float:
        """Seconds of work due within `span` that do not fit into it."""
        return self._due(span, now) / self._lanes - span

    def _due(self, span: float, now: float) -> float:
        """Seconds of work due within `span`, a newcomer's own first piece left out."""
        cost = self.cost
        unbegun = sum(not stream.begun for stream in self._streams) + len(self._expected)
        running = cost.piece_s / 2 * min(self._lanes, len(self._streams))
        newcomer = cost.per_second * min(span, _TYPICAL_S)
        return (
            running
            + unbegun * cost.first_s
            + len(self._expected) * newcomer
            + newcomer
            + sum(self._work(stream, now + span, now) for stream in self._streams)
        )

    def _work(self, stream: Demand, until: float, now: float) -> float:
        """What `stream` needs before `until`, its first piece left out."""
        due = stream.deadline + (0.0 if stream.begun else FIRST_AUDIO_TARGET_S)
        if due > until:
            return 0.0
        wanted = (until - due) * self.cost.per_second
        if stream.begun:  # an engine makes whole pieces
            wanted = max(self.cost.piece_s, wanted)
        return min(stream.remaining_s * self.cost.per_second, wanted)


class Admission:
    """Decides who may begin to speak.

    Args:
        limit_s: longest predicted wait of a new session or request; None admits everybody.
        context_limit_s: of a context in a session that is under way, whose refusal hurts more.
    """

    def __init__(self, limit_s: float | None, context_limit_s: float | None) -> None:
        self._limit_s = limit_s
        self._context_limit_s = context_limit_s

    def check(self, loads: Iterable[EngineLoad], now: float) -> None:
        """May a session come in, or a request?

        Raises:
            ProtocolError: `overloaded`, with the time after which a retry may help.
        """
        _check(loads, self._limit_s, now)

    def check_context(self, load: EngineLoad, session_id: str, now: float) -> None:
        """May a session that is silent now begin to speak? Raises as `check`.

        It is then expected, until it is told to `load` that it came or will not.
        """
        _check([load], self._context_limit_s, now)
        load.expect(session_id, now)


def _check(loads: Iterable[EngineLoad], limit_s: float | None, now: float) -> None:
    if limit_s is None:
        return
    load = min(loads, key=lambda each: each.first_audio_s(now))
    predicted = load.first_audio_s(now)
    if predicted > limit_s and not load.idle:  # a slow engine that waits should rather work
        raise ProtocolError(
            ErrorCode.OVERLOADED,
            f"the first audio would come after about {predicted * 1000:.0f} ms, and "
            f"{limit_s * 1000:.0f} are permitted; try again shortly",
            retry_after_s=min(_LONGEST_RETRY_S, max(1, math.ceil(predicted))),
        )
