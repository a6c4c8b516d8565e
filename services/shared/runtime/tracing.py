"""Traces of what a service does, as the rest of it sees them; nothing happens unless configured.

A service is traced with OpenTelemetry when `tracing.endpoint` is set (`otel.py`, the dependency
group `otel`). Everybody else holds a :class:`Span` and need not know whether it is a real one.
"""

import contextlib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Protocol

from services.shared.runtime.config import ConfigError, TracingConfig

Attribute = str | int | float | bool


class Span(Protocol):
    """Something that takes time, within a trace."""

    def child(self, name: str, *, began_s_ago: float = 0.0, **attributes: Attribute) -> "Span":
        """Begin a part of it; to be ended by the caller."""
        ...

    def rename(self, name: str) -> None:
        """A better name is known now."""
        ...

    def note(self, **attributes: Attribute) -> None:
        """Say more about it."""
        ...

    def event(self, name: str, **attributes: Attribute) -> None:
        """Something that happens now."""
        ...

    def fail(self, reason: str) -> None:
        """It did not go well."""
        ...

    def end(self) -> None:
        """It is over; what is said later is lost. May come twice."""
        ...

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits; empty: not traced."""
        ...


class Tracer(Protocol):
    """Where traces begin."""

    def serve(self, name: str, headers: Mapping[str, str], **attributes: Attribute) -> Span:
        """Begin the span of a request.

        Within the caller's trace (W3C `traceparent`) if callers are trusted, else linked to it.
        """
        ...

    def close(self) -> None:
        """Send what waits. Blocks for a few seconds at most."""
        ...


class NoSpan:
    """Nothing is traced."""

    trace_id = ""

    def child(self, name: str, *, began_s_ago: float = 0.0, **attributes: Attribute) -> "NoSpan":
        return self

    def rename(self, name: str) -> None:
        pass

    def note(self, **attributes: Attribute) -> None:
        pass

    def event(self, name: str, **attributes: Attribute) -> None:
        pass

    def fail(self, reason: str) -> None:
        pass

    def end(self) -> None:
        pass


class NoTracer:
    """Nothing is traced."""

    def serve(self, name: str, headers: Mapping[str, str], **attributes: Attribute) -> NoSpan:
        return NO_SPAN

    def close(self) -> None:
        pass


NO_SPAN = NoSpan()
NO_TRACER = NoTracer()
_CURRENT: ContextVar[Span] = ContextVar("span", default=NO_SPAN)


def current_span() -> Span:
    """That of the request or session that this task works for."""
    return _CURRENT.get()


@contextlib.contextmanager
def within(span: Span) -> Iterator[Span]:
    """Make it the current one of this task and those that it starts; ended afterwards."""
    token = _CURRENT.set(span)
    try:
        yield span
    except Exception as error:
        span.fail(type(error).__name__)
        raise
    finally:
        _CURRENT.reset(token)
        span.end()


def create_tracer(config: TracingConfig, service: str) -> Tracer:
    """Raises ConfigError when tracing is wanted and its libraries are not installed."""
    if not config.endpoint:
        return NO_TRACER
    try:
        from services.shared.runtime.otel import OtelTracer
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"tracing.endpoint is set, but {error.name} is not installed: uv sync --group otel"
        ) from None
    return OtelTracer(config, service)
