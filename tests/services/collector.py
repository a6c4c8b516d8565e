"""A collector of traces, as OpenTelemetry's are: OTLP over HTTP, protobuf."""

import contextlib
import gzip
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan


@dataclass(frozen=True)
class Collected:
    """One span that came."""

    service: str
    wire: WireSpan

    @property
    def name(self) -> str:
        return str(self.wire.name)

    @property
    def trace_id(self) -> str:
        return str(self.wire.trace_id.hex())

    @property
    def span_id(self) -> str:
        return str(self.wire.span_id.hex())

    @property
    def parent_id(self) -> str:
        return str(self.wire.parent_span_id.hex())

    @property
    def seconds(self) -> float:
        return float(self.wire.end_time_unix_nano - self.wire.start_time_unix_nano) / 1e9

    @property
    def attributes(self) -> dict[str, Any]:
        return {each.key: _plain(each.value) for each in self.wire.attributes}

    @property
    def events(self) -> list[str]:
        return [event.name for event in self.wire.events]


def _plain(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    return None if kind is None else getattr(value, kind)


class Collector:
    def __init__(self, url: str) -> None:
        self.url = url
        self.spans: list[Collected] = []

    def take(self, body: bytes) -> None:
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            named = {each.key: _plain(each.value) for each in group.resource.attributes}
            self.spans += [
                Collected(named["service.name"], span)
                for scope in group.scope_spans
                for span in scope.spans
            ]

    def named(self, name: str) -> list[Collected]:
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> Collected:
        [span] = self.named(name)
        return span

    def below(self, parent: Collected) -> list[str]:
        """The names of a span's children, in the order of their beginnings."""
        children = [span for span in self.spans if span.parent_id == parent.span_id]
        return [span.name for span in sorted(children, key=lambda s: s.wire.start_time_unix_nano)]


@contextlib.contextmanager
def collecting() -> Iterator[Collector]:
    """Take spans at `url` until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            status = 200 if self.path == "/v1/traces" else 404
            if status == 200:
                collector.take(body)
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector = Collector(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
