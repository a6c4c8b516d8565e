"""When a program is told to end."""

import asyncio
import signal


def told_to_end() -> asyncio.Event:
    """Set by SIGTERM and SIGINT from here on; for the main thread's event loop."""
    stopping = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, stopping.set)
    return stopping
