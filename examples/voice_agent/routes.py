"""Which agent takes a call, by the dialled number and the time. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from examples.voice_agent.did_pattern import DidPattern
from examples.voice_agent.schedule import Schedule


@dataclass(frozen=True, slots=True)
class Route:
    """A rule for inbound calls."""

    id: int
    pattern: DidPattern
    agent: str
    version: int | None = None
    """None: the agent's newest when the call comes."""
    priority: int = 100
    """Lower ones are asked first; among equals the more specific pattern."""
    schedule: Schedule = Schedule()
    fallback: str | None = None
    """An extension of the dial plan for when the agent is closed, full or broken; None: the call
    goes on behind where the dial plan handed it over."""
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a call."""

    route: Route | None
    """None: no route's pattern matches."""
    open: bool
    """The route's agent takes it; otherwise the route's fallback does."""

    @property
    def agent(self) -> tuple[str, int | None] | None:
        """Name and version of the agent that takes the call; None: the fallback does."""
        return (self.route.agent, self.route.version) if self.route and self.open else None

    @property
    def fallback(self) -> str | None:
        """Also for a call whose agent then turns out to be full or broken."""
        return self.route.fallback if self.route else None

    @property
    def reason(self) -> str:
        if self.route is None:
            return "no_route"
        return "open" if self.open else "closed"


def route_call(routes: Iterable[Route], called: str, at: datetime) -> Decision:
    """The first open route of those that match, or else the fallback of the first closed one.

    Args:
        routes: in any order.
        called: the number that was dialled.
        at: with a time zone.
    """
    matching = sorted(
        (route for route in routes if route.enabled and route.pattern.matches(called)), key=_order
    )
    for route in matching:
        if route.schedule.is_open(at):
            return Decision(route, open=True)
    return Decision(matching[0] if matching else None, open=False)


def _order(route: Route) -> tuple[int, tuple[int, ...], int]:
    return route.priority, tuple(-each for each in route.pattern.specificity), route.id
