"""What a request may reach: the store, and who asks."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.requests import HTTPConnection
from starlette.types import Message

from examples.voice_agent.api.errors import ApiError, ErrorKind
from examples.voice_agent.api.keys import KeyRing
from examples.voice_agent.store.store import Store

_LARGEST = 1 << 20
"""Bytes of a body; an agent's configuration has some thousand."""


def _store(connection: HTTPConnection) -> Store:
    store: Store = connection.app.state.store
    return store


def _holder(connection: HTTPConnection) -> str:
    keys: KeyRing = connection.app.state.keys
    return keys.holder(connection)


TheStore = Annotated[Store, Depends(_store)]
Holder = Annotated[str, Depends(_holder)]
"""The name of the key that was given; without a good one the request ends here."""


class KeyedRoute(APIRoute):
    """Asks for a key before anything else: FastAPI would read and parse the body first."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def checked(request: Request) -> Response:
            _holder(request)
            return await handle(_Limited(request))

        return checked


class _Limited(Request):
    """The same request; reading more of its body than is permitted fails."""

    def __init__(self, request: Request) -> None:
        super().__init__(request.scope, self._counted)
        self._inner = request.receive
        self._received = 0

    async def _counted(self) -> Message:
        message = await self._inner()
        self._received += len(message.get("body", b""))
        if self._received > _LARGEST:
            raise ApiError(ErrorKind.TOO_LARGE, f"the body has more than {_LARGEST} bytes")
        return message
