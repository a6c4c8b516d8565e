"""Traces by OpenTelemetry, sent to a collector by OTLP over HTTP. Imported only when configured."""

import platform
import time
from collections.abc import Mapping

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Link, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from services.shared.runtime.config import TracingConfig
from services.shared.runtime.state_metrics import service_version
from services.shared.runtime.tracing import Attribute, Span

_EXPORT_S = 5.0
"""A collector that does not answer for so long loses what was sent; callers never wait for it."""


class OtelTracer:
    """Owns its provider: nothing of OpenTelemetry's process-wide state is touched."""

    def __init__(self, config: TracingConfig, service: str) -> None:
        resource = Resource.create(
            {
                "service.name": f"voice-{service}",
                "service.version": service_version(),
                "host.name": platform.node(),
            }
        )
        sampler = ParentBased(TraceIdRatioBased(config.sample))
        self._provider = TracerProvider(sampler=sampler, resource=resource, shutdown_on_exit=False)
        assert config.endpoint is not None
        address = f"{config.endpoint.rstrip('/')}/v1/traces"
        exporter = OTLPSpanExporter(endpoint=address, timeout=_EXPORT_S)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("voice")
        self._trust_parent = config.trust_parent
        self._propagator = TraceContextTextMapPropagator()

    def serve(self, name: str, headers: Mapping[str, str], **attributes: Attribute) -> Span:
        parent = self._propagator.extract(headers)
        links: list[Link] = []
        if not self._trust_parent:
            # Not only the flag but the id decides, because the sampler goes by it: a trace of ours.
            callers = trace.get_current_span(parent).get_span_context()
            links = [Link(callers)] if callers.is_valid else []
            parent = Context()
        span = self._tracer.start_span(
            name, context=parent, kind=SpanKind.SERVER, attributes=attributes, links=links
        )
        return _Span(self._tracer, span)

    def close(self) -> None:
        self._provider.shutdown()


class _Span:
    def __init__(self, tracer: trace.Tracer, span: trace.Span) -> None:
        self._tracer = tracer
        self._span = span
        self._ended = False

    @property
    def trace_id(self) -> str:
        return trace.format_trace_id(self._span.get_span_context().trace_id)

    def child(self, name: str, *, began_s_ago: float = 0.0, **attributes: Attribute) -> "_Span":
        span = self._tracer.start_span(
            name,
            context=set_span_in_context(self._span),
            attributes=attributes,
            start_time=time.time_ns() - int(began_s_ago * 1e9),
        )
        return _Span(self._tracer, span)

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def note(self, **attributes: Attribute) -> None:
        self._span.set_attributes(attributes)

    def event(self, name: str, **attributes: Attribute) -> None:
        self._span.add_event(name, attributes)

    def fail(self, reason: str) -> None:
        self._span.set_status(Status(StatusCode.ERROR, reason))

    def end(self) -> None:
        if not self._ended:
            self._ended = True
            self._span.end()
