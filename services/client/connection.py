"""What the clients of both services share: connecting, keys, and refusals as exceptions."""

import json
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidStatus

CONNECT_S = 10.0
MAX_MESSAGE = 16 << 20


class ServiceError(Exception):
    """A service refused, or could not be reached; the sentence is its own where it sent one."""

    def __init__(self, message: str, *, code: str = "unreachable", retryable: bool = True) -> None:
        super().__init__(message)
        self.code = code
        self.retryable = retryable


def headers_for(key: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if key else {}


async def open_socket(url: str, key: str | None) -> ClientConnection:
    """Open a WebSocket.

    Raises:
        ServiceError: unreachable, or refused with the service's own sentence.
    """
    try:
        return await connect(
            url,
            additional_headers=headers_for(key),
            max_size=MAX_MESSAGE,
            open_timeout=CONNECT_S,
            close_timeout=CONNECT_S,
            compression=None,
            proxy=None,
        )
    except InvalidStatus as error:
        raise refusal(error.response.status_code, error.response.body or b"") from None
    except (OSError, TimeoutError, InvalidHandshake) as error:
        raise ServiceError(f"{url} cannot be reached: {error or type(error).__name__}") from None


def refusal(status: int, body: bytes | bytearray) -> ServiceError:
    """The exception for an HTTP answer that is not a success."""
    try:
        fields: dict[str, Any] = json.loads(body)
        return ServiceError(
            fields["message"], code=fields["code"], retryable=bool(fields["retryable"])
        )
    except (ValueError, KeyError, TypeError):
        return ServiceError(f"the service answered with HTTP status {status}", code="http")
