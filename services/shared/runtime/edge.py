"""What every service's HTTP edge shares: health, metrics, keys, one shape of error, body limits."""

import asyncio
import contextlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.shared.protocol.base import ErrorCode, ProtocolError
from services.shared.protocol.codec import encode
from services.shared.runtime.config import ServerConfig
from services.shared.runtime.key_files import is_loopback
from services.shared.runtime.keys import Scope as KeyScope
from services.shared.runtime.lifecycle import Lifecycle, Phase, lifecycle_of
from services.shared.runtime.observing import REQUEST_ID, Observing
from services.shared.runtime.openapi import document_errors
from services.shared.runtime.origins import EXPOSED, OriginCheck, Origins
from services.shared.runtime.tokens_api import token_routes
from services.shared.runtime.tracing import NO_TRACER, Tracer

log = structlog.get_logger(__name__)

RETRY_AFTER_S = 2
"""What a refused client is told to wait."""
LINGER_S = 5.0
"""How long the rest of a refused body is read, and thrown away, before the connection closes."""
_UNFIT: dict[int | str, dict[str, Any]] = {503: {"description": "No; the body says why"}}


def error_response(error: ProtocolError, *, headers: dict[str, str] | None = None) -> Response:
    """The HTTP form of an error: the same JSON as on the WebSocket, with its status."""
    headers = dict(headers or {})
    if error.traits.http_status in (429, 503):
        headers["Retry-After"] = str(error.retry_after_s or RETRY_AFTER_S)
    if error.code is ErrorCode.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(
        encode(error.to_message()),
        status_code=error.traits.http_status,
        media_type="application/json",
        headers=headers,
    )


def health_routes(*, open_metrics: bool) -> APIRouter:
    router = APIRouter(tags=["health"])

    @router.get("/health/live", summary="Is the process worth keeping?", responses=_UNFIT)
    async def live(request: Request) -> JSONResponse:
        lifecycle = lifecycle_of(request.app)
        hung = lifecycle.hung()
        status = 503 if hung or lifecycle.phase is Phase.FAILED else 200
        return JSONResponse({"live": status == 200, "hung": hung}, status_code=status)

    @router.get(
        "/health/ready", summary="Are the models warm, and is there room?", responses=_UNFIT
    )
    async def ready(request: Request) -> JSONResponse:
        lifecycle = lifecycle_of(request.app)
        troubles = lifecycle.troubles() if lifecycle.phase is Phase.READY else []
        status = 200 if lifecycle.phase is Phase.READY and not troubles else 503
        body = {"ready": status == 200, "phase": lifecycle.phase, "sessions": lifecycle.sessions}
        if troubles:
            body["troubles"] = troubles
        if lifecycle.failure:
            body["failure"] = lifecycle.failure
        return JSONResponse(body, status_code=status)

    @router.get("/metrics", summary="Prometheus metrics", response_class=PlainTextResponse)
    async def metrics(request: Request) -> Response:
        if not open_metrics:
            lifecycle_of(request.app).keys.check(request, KeyScope.METRICS)
        registry = lifecycle_of(request.app).metrics.registry
        # It reads files, and takes longer than a caller's audio should wait.
        text = await asyncio.to_thread(generate_latest, registry)
        return Response(text, media_type=CONTENT_TYPE_LATEST)

    return router


def install_error_handlers(app: FastAPI, origins: Origins) -> None:
    """Give every failure, also the framework's own, the one shape of error."""

    @app.exception_handler(ProtocolError)
    async def protocol_error(request: Request, error: ProtocolError) -> Response:
        return _counted(request, error)

    @app.exception_handler(RequestValidationError)
    async def invalid_request(request: Request, error: RequestValidationError) -> Response:
        details = error.errors()
        if any(detail.get("type") == "json_invalid" for detail in details):
            return _counted(request, ProtocolError(ErrorCode.INVALID_JSON, "the body is not JSON"))
        parts = [_describe(detail) for detail in details[:3]]
        return _counted(request, ProtocolError(ErrorCode.INVALID_MESSAGE, "; ".join(parts)))

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        # The framework calls whatever ends the reading of a body "an error parsing" it.
        if isinstance(error.__cause__, ProtocolError):
            return _counted(request, error.__cause__)
        if isinstance(error.__cause__, ValueError | RecursionError):
            return _counted(request, ProtocolError(ErrorCode.INVALID_JSON, "the body is not JSON"))
        missing = error.status_code == 404
        body = {
            "type": "error",
            "code": ErrorCode.NOT_FOUND if missing else ErrorCode.INVALID_MESSAGE,
            "message": str(error.detail),
            "retryable": False,
        }
        return JSONResponse(body, status_code=error.status_code, headers=error.headers)

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> Response:
        # Here the middleware that names requests and lets pages read is left already.
        request_id = request.scope["request_id"]
        log.error(
            "unexpected failure", path=request.url.path, request_id=request_id, exc_info=error
        )
        answer = _counted(request, internal_error())
        answer.headers[REQUEST_ID] = request_id
        answer.headers.update(origins.reading(request.headers.get("origin")))
        return answer


def internal_error() -> ProtocolError:
    """What a client hears of a fault of ours: nothing of its inside."""
    return ProtocolError(ErrorCode.INTERNAL, "an unexpected failure; the operator's log has it")


def _counted(request: Request, error: ProtocolError) -> Response:
    lifecycle_of(request.app).metrics.errors.labels(error.code.value).inc()
    return error_response(error)


def _describe(detail: dict[str, object]) -> str:
    location = detail.get("loc", ())
    assert isinstance(location, tuple)
    field = ".".join(str(step) for step in location[1:]) or "body"
    if detail.get("type") == "extra_forbidden":
        return f'unknown field "{field}"'
    if detail.get("type") == "missing":
        return f'field "{field}" is required'
    return f'field "{field}": {detail.get("msg")}'


class BodyLimit:
    """ASGI middleware: refuses a request body over `max_bytes`, declared or counted.

    A client that is refused before it has sent everything hears why: a connection closed on a
    client that still sends loses the answer (nginx calls the cure a lingering close).
    """

    def __init__(
        self, app: ASGIApp, max_bytes: int, larger: Mapping[str, int] | None = None
    ) -> None:
        self.app = app
        self.max_bytes = max_bytes
        self.larger = larger or {}
        """Path → bytes, where more is permitted."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        declared = headers.get(b"content-length", b"0")
        max_bytes = self.larger.get(scope["path"], self.max_bytes)
        body = _Body(receive, send, max_bytes)
        body.complete = declared == b"0" and b"transfer-encoding" not in headers
        app: ASGIApp = self.app
        if declared.isdigit() and int(declared) > max_bytes:
            app = error_response(too_large(max_bytes))
        await app(scope, body.receive, body.answer)


class _Body:
    """One request's body, counted, and its answer, which may come first."""

    def __init__(self, receive: Receive, send: Send, max_bytes: int) -> None:
        self.complete = False
        self._receive = receive
        self._send = send
        self._max_bytes = max_bytes
        self._received = 0

    async def receive(self) -> Message:
        message = await self._next()
        self._received += len(message.get("body", b""))
        if self._received > self._max_bytes:
            raise too_large(self._max_bytes)
        return message

    async def answer(self, message: Message) -> None:
        """Send a part of the answer; the end of it only when the client has sent its own."""
        if self.complete:
            await self._send(message)
        elif message["type"] == "http.response.start":
            headers = [*message.get("headers", []), (b"connection", b"close")]
            await self._send({**message, "headers": headers})
        elif message.get("more_body"):
            await self._send(message)
        else:
            await self._send({**message, "more_body": True})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LINGER_S):
                    while not self.complete:
                        await self._next()
            await self._send({"type": "http.response.body", "body": b""})

    async def _next(self) -> Message:
        message = await self._receive()
        self.complete = not message.get("more_body", False)
        return message


def too_large(max_bytes: int) -> ProtocolError:
    return ProtocolError(
        ErrorCode.MESSAGE_TOO_LARGE,
        f"the request body is larger than the limit of {max_bytes} bytes",
    )


def build_app(
    lifecycle: Lifecycle,
    *,
    title: str,
    description: str,
    max_body: int,
    larger_bodies: Mapping[str, int] | None = None,
    server: ServerConfig | None = None,
    tracer: Tracer = NO_TRACER,
) -> FastAPI:
    """A FastAPI application with everything that both services share.

    Args:
        max_body: bytes of a request.
        larger_bodies: path → bytes, for routes that take files.
        server: whose pages may use it, and whether metrics are open.
        tracer: of the service's traces.
    """
    app = FastAPI(title=title, description=description, version="1")
    app.state.lifecycle = lifecycle
    server = server or ServerConfig()
    origins = Origins(server.allowed_origins, locked=bool(lifecycle.keys))
    # Each one is around those before it.
    app.add_middleware(BodyLimit, max_bytes=max_body, larger=larger_bodies)
    _guard_origins(app, server.allowed_origins, origins)
    app.add_middleware(Observing, metrics=lifecycle.metrics, tracer=tracer)
    open_metrics = server.open_metrics
    if open_metrics is None:
        open_metrics = is_loopback(server.host)
    app.include_router(health_routes(open_metrics=open_metrics))
    app.include_router(token_routes())
    install_error_handlers(app, origins)
    document_errors(app)
    return app


def _guard_origins(app: FastAPI, allowed: Sequence[str], origins: Origins) -> None:
    """Refuse other pages, and let those that are permitted read the answers."""
    if allowed:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=allowed,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type"],
            expose_headers=EXPOSED,
        )
    app.add_middleware(OriginCheck, origins=origins, refuse=_refused)


def _refused(error: ProtocolError) -> ASGIApp:
    """An answer outside all other middleware, for a client that may still be sending its body."""
    return BodyLimit(error_response(error), max_bytes=sys.maxsize)
