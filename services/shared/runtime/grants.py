"""What HTTP routes ask of keys: a scope before anything else, and a place while they work."""

import contextlib
from collections.abc import Awaitable, Callable, Iterator

from fastapi import Request
from starlette.requests import HTTPConnection

from services.shared.runtime.auth import Grant
from services.shared.runtime.keys import Scope
from services.shared.runtime.lifecycle import lifecycle_of


def requires(*scopes: Scope) -> Callable[[Request], Awaitable[None]]:
    """A FastAPI dependency: refuse a request without a key or token that is good for one of these.

    Routes find what it permits by :func:`grant_of`.
    """

    async def check(request: Request) -> None:
        request.state.grant = lifecycle_of(request.app).keys.check(request, *scopes)

    return check


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
