"""What is told of every request and connection: its id, a line of log, counts, a trace.

The id is that of the `X-Request-ID` header, which nginx sets, or a new one. It stands in every line
of log and in the answer, also in that to a WebSocket's upgrade.
"""

import re
import time
import uuid
from collections.abc import Awaitable, Mapping

import structlog
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.shared.runtime.metrics import ServiceMetrics
from services.shared.runtime.tracing import NO_TRACER, Attribute, Span, Tracer, within

log = structlog.get_logger(__name__)

REQUEST_ID = "X-Request-ID"
_SANE_ID = re.compile(r"[A-Za-z0-9._:+/=@-]{1,128}", re.ASCII)
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_QUIET = frozenset(("/health/live", "/health/ready", "/metrics"))
"""Asked for every few seconds by machines: counted, and logged only for debugging."""
_VANISHED = 1006
"""The close code of a connection that was lost without one (RFC 6455 §7.1.5)."""
_UNKNOWN = "unknown"
"""For what clients may invent: labels of metrics are few."""


def request_id_of(headers: Mapping[str, str]) -> str:
    """The id that came with a request if it is a sane one, else a new one."""
    given = headers.get(REQUEST_ID, "")
    return given if _SANE_ID.fullmatch(given) else uuid.uuid4().hex


class Observing:
    """ASGI middleware; the outermost one, so that refusals are seen, too."""

    def __init__(self, app: ASGIApp, metrics: ServiceMetrics, tracer: Tracer) -> None:
        self._app = app
        self._metrics = metrics
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        scope["request_id"] = request_id = request_id_of(headers)
        told: dict[str, str] = {"request_id": request_id}
        tracer = NO_TRACER if scope["path"] in _QUIET else self._tracer
        span = tracer.serve(scope["type"], headers, request_id=request_id)
        if span.trace_id:
            told["trace_id"] = span.trace_id
        watched = _Exchange(scope, send)
        with structlog.contextvars.bound_contextvars(**told), within(span):
            try:
                await self._app(scope, receive, watched.send)
            finally:
                self._tell(watched, span)

    def _tell(self, exchange: "_Exchange", span: Span) -> None:
        seconds, route = time.monotonic() - exchange.since, _route(exchange.scope)
        if exchange.scope["type"] == "websocket":
            _tell_connection(exchange, span, route, seconds)
            return
        method = exchange.scope["method"]
        method = method if method in _METHODS else _UNKNOWN
        self._metrics.requests.labels(method, route, str(exchange.status)).inc()
        self._metrics.request_s.labels(route).observe(seconds)
        said: dict[str, Attribute] = {"http.request.method": method, "http.route": route}
        span.rename(f"{method} {route}")
        span.note(**said, **{"http.response.status_code": exchange.status})
        tell = log.debug if route in _QUIET else log.info
        status = exchange.status
        tell("request", method=method, route=route, status=status, seconds=round(seconds, 3))


def _tell_connection(exchange: "_Exchange", span: Span, route: str, seconds: float) -> None:
    said: dict[str, Attribute] = {
        "http.route": route,
        "http.response.status_code": exchange.status,
    }
    span.rename(f"WebSocket {route}")
    if exchange.status != 101:
        log.info("connection refused", route=route, status=exchange.status)
    else:
        said["websocket.close_code"] = code = exchange.close_code
        if session_id := structlog.contextvars.get_contextvars().get("session_id"):
            said["session_id"] = session_id
        log.info("connection closed", route=route, code=code, seconds=round(seconds, 1))
    span.note(**said)


class _Exchange:
    """One request or connection, as it goes by; its messages themselves are left alone."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.scope = scope
        self.since = time.monotonic()
        self.status = 500
        """Unless something else is answered."""
        scope["close_code"] = _VANISHED
        """A connection that ends by its client says how."""
        self._send = send
        self._id = (REQUEST_ID.lower().encode(), scope["request_id"].encode())

    @property
    def close_code(self) -> int:
        return int(self.scope["close_code"])

    def send(self, message: Message) -> Awaitable[None]:
        kind = message["type"]
        if kind == "websocket.send":  # audio: many a second
            return self._send(message)
        if kind in ("http.response.start", "websocket.http.response.start"):
            self.status = message["status"]
            message = self._named(message)
        elif kind == "websocket.accept":
            self.status = 101
            message = self._named(message)
            log.info("connection opened", route=_route(self.scope))
        elif kind == "websocket.close" and self.status != 101:
            self.status = 403  # what the server makes of it
        elif kind == "websocket.close":
            self.scope["close_code"] = message.get("code", 1000)
        return self._send(message)

    def _named(self, message: Message) -> Message:
        return {**message, "headers": [*message.get("headers", ()), self._id]}


def _route(scope: Scope) -> str:
    """The template of the path, which holds no ids."""
    return getattr(scope.get("route"), "path", None) or _UNKNOWN
