"""What an application can be asked."""

from collections.abc import Iterable, Iterator

from starlette.routing import BaseRoute, Route, WebSocketRoute


def routes(found: Iterable[BaseRoute]) -> Iterator[tuple[str, str]]:
    """Every method and path, those of included routers, too."""
    for route in found:
        if (router := getattr(route, "original_router", None)) is not None:
            yield from routes(router.routes)
        elif isinstance(route, WebSocketRoute):
            yield "WS", route.path
        else:
            assert isinstance(route, Route), f"{route!r} is of a kind that is not walked"
            for method in sorted((route.methods or set()) - {"HEAD"}):
                yield method, route.path
