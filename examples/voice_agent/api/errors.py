"""One shape for every failure, the services': type, code, message, retryable."""

from enum import Enum

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from examples.voice_agent.store.agents import ForbiddenSecret, UnknownAgent
from examples.voice_agent.store.conversations import BadCursor, UnknownConversation
from examples.voice_agent.store.database import DATABASE_ERRORS, refuses_value
from examples.voice_agent.store.errors import StoreError
from examples.voice_agent.store.inbound_routes import RouteExists, UnknownRoute

log = structlog.get_logger(__name__)

_RETRY_AFTER_S = "2"


class ErrorKind(Enum):
    """Code and HTTP status."""

    INVALID = "invalid_message", 422
    UNAUTHORIZED = "unauthorized", 401
    NOT_FOUND = "not_found", 404
    CONFLICT = "conflict", 409
    TOO_LARGE = "message_too_large", 413
    OVERLOADED = "overloaded", 503
    UNAVAILABLE = "unavailable", 503
    SLOW_CLIENT = "slow_client", 408
    INTERNAL = "internal", 500

    @property
    def code(self) -> str:
        return self.value[0]

    @property
    def status(self) -> int:
        return self.value[1]


class ApiError(Exception):
    def __init__(self, kind: ErrorKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message

    def body(self) -> dict[str, str | bool]:
        return {
            "type": "error",
            "code": self.kind.code,
            "message": self.message,
            "retryable": self.kind.status in (408, 503),
        }


_KINDS: tuple[tuple[type[StoreError], ErrorKind], ...] = (
    (UnknownAgent, ErrorKind.NOT_FOUND),
    (UnknownRoute, ErrorKind.NOT_FOUND),
    (UnknownConversation, ErrorKind.NOT_FOUND),
    (RouteExists, ErrorKind.CONFLICT),
    (BadCursor, ErrorKind.INVALID),
    (ForbiddenSecret, ErrorKind.INVALID),
)


def install_error_handlers(app: FastAPI) -> None:
    """Every failure, also the framework's own."""

    @app.exception_handler(ApiError)
    async def api_error(request: Request, error: ApiError) -> JSONResponse:
        return _response(error)

    @app.exception_handler(StoreError)
    async def store_error(request: Request, error: StoreError) -> JSONResponse:
        kinds = [kind for of, kind in _KINDS if isinstance(error, of)]
        return _response(ApiError(kinds[0] if kinds else ErrorKind.INTERNAL, str(error)))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        told = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()[:3]]
        return _response(ApiError(ErrorKind.INVALID, "; ".join(told)))

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        # The framework calls whatever ends the reading of a body "an error parsing" it.
        if isinstance(error.__cause__, ApiError):
            return _response(error.__cause__)
        kind = ErrorKind.NOT_FOUND if error.status_code == 404 else ErrorKind.INVALID
        response = _response(ApiError(kind, str(error.detail)))
        response.status_code = error.status_code
        return response

    async def away(request: Request, error: Exception) -> JSONResponse:
        if refuses_value(error):
            message = (
                "a number is too large for the database, or a text has characters that it lacks"
            )
            return _response(ApiError(ErrorKind.INVALID, message))
        log.warning("the database is away", error=str(error))
        return _response(ApiError(ErrorKind.UNAVAILABLE, "the database cannot be reached"))

    for kind in (*DATABASE_ERRORS, OverflowError):
        app.add_exception_handler(kind, away)

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        log.error("unexpected failure", path=request.url.path, exc_info=error)
        message = "an unexpected failure; the operator's log has it"
        return _response(ApiError(ErrorKind.INTERNAL, message))


def _response(error: ApiError) -> JSONResponse:
    headers = {}
    if error.kind.status == 503:
        headers["Retry-After"] = _RETRY_AFTER_S
    if error.kind is ErrorKind.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(error.body(), status_code=error.kind.status, headers=headers)
