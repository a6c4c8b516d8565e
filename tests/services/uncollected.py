"""What of a service only the garbage collector would free."""

import gc
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import services
from tests.services.serving import LiveService, eventually

_SOURCES = str(Path(services.__file__).parent)


@contextmanager
def uncollected() -> Iterator[Counter[str]]:
    """Count what was left in cycles within the block: our types and the server's, and frames of our
    functions. Clients, which run in the same process here, leave a few objects a connection.
    """
    found: Counter[str] = Counter()
    gc.collect()
    gc.disable()
    try:
        yield found
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        found.update(name for each in gc.garbage if (name := _name(each)))
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


Way = Callable[[str], Awaitable[None]]
"""How a client of `ws://host:port` may come and go."""


async def leaves_nothing(live: LiveService, way: Way) -> None:
    """When clients have gone this way, all of their sessions is freed without the collector."""
    await way(live.ws)  # what is made once and kept is made
    await _all_gone(live)
    with uncollected() as left:
        for _ in range(3):
            await way(live.ws)
        await _all_gone(live)
    assert not left


async def _all_gone(live: LiveService) -> None:
    await eventually(lambda: live.lifecycle.sessions == 0)
    await eventually(lambda: not live.connections)


def _name(found: object) -> str | None:
    if type(found) is FrameType:
        ours = found.f_code.co_filename.startswith(_SOURCES)
        return found.f_code.co_qualname if ours else None
    module = type(found).__module__  # not of the object: it may be a proxy
    named = module.startswith(("services.", "uvicorn."))
    return f"{module}.{type(found).__qualname__}" if named else None
