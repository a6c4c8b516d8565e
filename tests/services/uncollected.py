"""What of our own code only the garbage collector would free."""

import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import services

_SOURCES = str(Path(services.__file__).parent)


@contextmanager
def uncollected() -> Iterator[Counter[str]]:
    """Count what was left in cycles within the block: our types, and frames of our functions.

    Libraries leave a few objects of their own a connection, but nothing that holds ours.
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


def _name(found: object) -> str | None:
    if type(found) is FrameType:
        ours = found.f_code.co_filename.startswith(_SOURCES)
        return found.f_code.co_qualname if ours else None
    module = type(found).__module__  # not of the object: it may be a proxy
    return f"{module}.{type(found).__qualname__}" if module.startswith("services.") else None
