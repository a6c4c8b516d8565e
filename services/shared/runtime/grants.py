"""What HTTP routes ask of keys: a scope before anything else, and a place while they work."""

import contextlib
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from fastapi import Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.requests import HTTPConnection

from services.shared.runtime.auth import Grant
from services.shared.runtime.keys import Scope
from services.shared.runtime.lifecycle import lifecycle_of


class Requirement:
    """A FastAPI dependency: refuse a request without a key or token that is good for a scope."""

    def __init__(self, scopes: tuple[Scope, ...]) -> None:
        self._scopes = scopes

    async def __call__(self, request: Request) -> None:
        if getattr(request.state, "met", None) is not self:
            request.state.grant = lifecycle_of(request.app).keys.check(request, *self._scopes)
            request.state.met = self


def requires(*scopes: Scope) -> Requirement:
    """To be put among a route's dependencies; the route finds what is permitted by `grant_of`."""
    return Requirement(scopes)


class KeyedRoute(APIRoute):
    """Meets its requirements before anything else: FastAPI would read and parse the body first."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        asked = (each.dependency for each in self.dependencies)
        requirements = [each for each in asked if isinstance(each, Requirement)]

        async def checked(request: Request) -> Response:
            for requirement in requirements:
                await requirement(request)
            return await handle(request)

        return checked


def grant_of(connection: HTTPConnection) -> Grant:
    """What was found out before the route was called."""
    grant = connection.state.grant
    assert isinstance(grant, Grant)
    return grant


@contextlib.contextmanager
def admitted_request(request: Request) -> Iterator[Grant]:
    """Count a request among the key's sessions and the service's.

    Raises:
        ProtocolError: `quota_exceeded`, `overloaded` or `shutting_down`.
    """
    grant = grant_of(request)
    with grant.session(), lifecycle_of(request.app).admit():
        yield grant
