"""What the clients of both services share: connecting, keys, and refusals as exceptions."""

import asyncio
import json
import ssl
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, TypeVar

from websockets.asyncio.client import ClientConnection, connect
from websockets.datastructures import MultipleValuesError
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from services.shared.protocol.base import Error, Message
from services.shared.protocol.codec import Codec

M = TypeVar("M", bound=Message)
R = TypeVar("R", bound=Message)

CONNECT_S = 10.0
MAX_MESSAGE = 16 << 20
_DIGITS = 9
"""Of seconds that are waited for: three decades will do."""


class ServiceError(Exception):
    """A service refused, or could not be reached; the sentence is its own where it sent one."""

    def __init__(
        self,
        message: str,
        *,
        code: str = "unreachable",
        retryable: bool = True,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.retryable = retryable
        self.retry_after_s = retry_after_s
        """Trying again sooner is of no use, says the service (`Retry-After`)."""


def headers_for(key: str | None, request_id: str | None = None) -> dict[str, str]:
    """The key, the id that the service's logs shall show, and the trace that the caller is in:
    `traceparent`, if its program has traces."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    if request_id:
        headers["X-Request-ID"] = request_id
    if "opentelemetry.trace" in sys.modules:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        TraceContextTextMapPropagator().inject(headers)
    return headers


def trusting(ca: Path) -> ssl.SSLContext:
    """For `tls` of the clients: trust what this authority signed, and nothing else. Blocks.

    Without it those are trusted that the system trusts (`SSL_CERT_FILE` names others).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(ca)
    return context


def verified_by(url: str, tls: ssl.SSLContext | None) -> ssl.SSLContext | bool:
    """For `verify` of httpx, which would trust a list of its own."""
    if tls is not None:
        return tls
    return ssl.create_default_context() if url.startswith("https:") else True


async def open_socket(
    url: str,
    key: str | None,
    *,
    dead_s: float = 40.0,
    tls: ssl.SSLContext | None = None,
    request_id: str | None = None,
) -> ClientConnection:
    """Open a WebSocket.

    Args:
        tls: for `wss://`, see :func:`trusting`.
        dead_s: a service that answers no ping for so long is taken for gone.
        request_id: what the service's logs shall call it; services take letters, digits and
            `._:+/=@-`, at most 128, and choose another id for anything else.

    Raises:
        ServiceError: unreachable, or refused with the service's own sentence.
    """
    try:
        return await connect(
            url,
            additional_headers=headers_for(key, request_id),
            max_size=MAX_MESSAGE,
            open_timeout=CONNECT_S,
            close_timeout=min(CONNECT_S, dead_s / 4),  # the dead do not answer a close either
            ping_interval=dead_s / 2,
            ping_timeout=dead_s / 2,
            compression=None,
            proxy=None,
            ssl=tls if url.startswith("wss:") else None,
        )
    except InvalidStatus as error:
        answer = error.response
        raise refusal(answer.status_code, answer.body or b"", answer.headers) from None
    except (OSError, TimeoutError, InvalidHandshake) as error:
        raise ServiceError(f"{url} cannot be reached: {error or type(error).__name__}") from None


@asynccontextmanager
async def closing(socket: ClientConnection) -> AsyncIterator[None]:
    """Leave with a normal closure, also when cancelled: the library would say that we failed."""
    try:
        yield
    finally:
        await socket.close()


async def first_message(socket: ClientConnection, codec: Codec[M], expected: type[R]) -> R:
    """The service's `ready`.

    Raises:
        ServiceError: it sent an error, something else, or nothing.
    """
    try:
        async with asyncio.timeout(CONNECT_S):
            message = codec.decode(str(await socket.recv()))
    except TimeoutError:
        raise ServiceError(f"the service said nothing within {CONNECT_S:g} s") from None
    except ConnectionClosed as error:
        raise ServiceError(f"the service went before its first word: {error}") from None
    if isinstance(message, Error):
        raise ServiceError(message.message, code=message.code, retryable=message.retryable)
    if not isinstance(message, expected):
        raise ServiceError(f"expected {expected.__name__}, got {message}", code="protocol")
    return message


def refusal(
    status: int, body: bytes | bytearray, headers: Mapping[str, str] | None = None
) -> ServiceError:
    """The exception for an HTTP answer that is not a success."""
    try:
        wait_s = _retry_after_s((headers or {}).get("Retry-After", ""))
    except MultipleValuesError:  # a proxy has added its own
        wait_s = None
    try:
        fields: dict[str, Any] = json.loads(body)
        return ServiceError(
            fields["message"],
            code=fields["code"],
            retryable=bool(fields["retryable"]),
            retry_after_s=wait_s,
        )
    except (ValueError, KeyError, TypeError):
        sentence = f"the service answered with HTTP status {status}"
        return ServiceError(sentence, code="http", retry_after_s=wait_s)


def _retry_after_s(told: str) -> float | None:
    """Seconds or a date (RFC 9110, section 10.2.3); None for anything else."""
    told = told.strip()
    if told.isascii() and told.isdigit():
        return float(told[:_DIGITS])
    try:
        at = parsedate_to_datetime(told)
    except (ValueError, OverflowError):
        return None
    return max(0.0, (at - datetime.now(at.tzinfo)).total_seconds())
