"""Which web pages may use a service: browsers say where a page comes from, and only they do.

For HTTP, CORS lets a page read the answers. It stops neither a form that a page submits nor a
WebSocket that it opens, so a request from elsewhere is refused here before it does anything.
"""

from collections.abc import Callable, Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from services.shared.protocol.base import ErrorCode, ProtocolError

ANY = "*"
EXPOSED = ("Location", "Retry-After", "X-Request-ID", "X-Sample-Rate")
"""Headers of answers that pages may read beside the few that they always may."""
_DEFAULT_PORTS = {"http": 80, "https": 443}
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


def checked_origin(text: str) -> str:
    """An origin as browsers write it, `https://app.example:8443`, or `*`.

    Raises:
        ValueError: a sentence that says what is wrong.
    """
    if text == ANY:
        return text
    parts = urlsplit(text.lower())
    bare = f"{parts.scheme}://{parts.netloc}"
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or text.lower() != bare:
        raise ValueError(f"{text!r} is no origin; write scheme://host[:port], without a path")
    return _without_default_port(bare)


class Origins:
    """Decides by the headers Origin and Host.

    Args:
        allowed: origins, as :func:`checked_origin` gives them.
        locked: keys are asked for. Without them a service answers pages of its own address only
            where that is this machine's: else a page could name our address as its own (DNS
            rebinding) and be believed.
    """

    def __init__(self, allowed: Collection[str], *, locked: bool) -> None:
        self._allowed = frozenset(allowed)
        self._locked = locked

    def permits(self, origin: str | None, host: str) -> bool:
        """Whether to serve a request; without an origin it is no page of somebody else."""
        if origin is None or ANY in self._allowed:
            return True
        try:
            origin = checked_origin(origin)
        except ValueError:
            return False
        if origin in self._allowed:
            return True
        scheme = origin.partition("://")[0]
        own = _without_default_port(f"{scheme}://{host.lower()}")
        return origin == own and (self._locked or _hostname(own) in _LOOPBACK)

    def reading(self, origin: str | None) -> dict[str, str]:
        """Headers that let a page of this origin read an answer, where the list has it (CORS)."""
        if origin is None or not self._allowed:
            return {}
        told = {"Access-Control-Expose-Headers": ", ".join(EXPOSED)}
        if ANY in self._allowed:
            return {**told, "Access-Control-Allow-Origin": ANY}
        if origin in self._allowed:
            told["Access-Control-Allow-Origin"] = origin
        return {**told, "Vary": "Origin"}


class OriginCheck:
    """ASGI middleware: refuses pages from elsewhere, before the upgrade, with `forbidden`."""

    def __init__(
        self, app: ASGIApp, origins: Origins, refuse: Callable[[ProtocolError], ASGIApp]
    ) -> None:
        self.app = app
        self.origins = origins
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            headers = Headers(scope=scope)
            if not self.origins.permits(headers.get("origin"), headers.get("host", "")):
                refusal = ProtocolError(
                    ErrorCode.FORBIDDEN,
                    "web pages of this origin may not use the service; "
                    "the operator can add it to server.allowed_origins",
                )
                await self._refuse(refusal)(scope, receive, send)
                return
        await self.app(scope, receive, send)


def _without_default_port(origin: str) -> str:
    scheme = origin.partition("://")[0]
    return origin.removesuffix(f":{_DEFAULT_PORTS.get(scheme, '')}")


def _hostname(origin: str) -> str:
    authority = origin.partition("://")[2]
    name, _, port = authority.rpartition(":")
    return name if name and port.isdigit() else authority
