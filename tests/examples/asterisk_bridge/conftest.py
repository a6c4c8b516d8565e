"""A real Asterisk for the tests marked `asterisk`, and bridges that talk to it."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from examples.asterisk_bridge.bench.asterisk_server import PASSWORD, USER, AsteriskServer
from examples.asterisk_bridge.bridge import Bridge, running_bridge
from examples.asterisk_bridge.config import (
    AriConfig,
    BridgeConfig,
    CallsConfig,
    MediaConfig,
)
from examples.voice_agent.transport import Conversation

_SCRIPT = Path(__file__).parents[3] / "scripts" / "make_asterisk_bench.sh"
_BUILD_S = 900

RunBridge = Callable[..., AbstractAsyncContextManager[Bridge]]


@pytest.fixture(scope="session")
def asterisk_root() -> Path:
    """The chroot with Asterisk in it, made when it is not there yet."""
    done = subprocess.run([_SCRIPT], capture_output=True, text=True, timeout=_BUILD_S)
    if done.returncode == 3:
        pytest.skip(f"NO ASTERISK: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    folder = done.stdout.strip().splitlines()[-1].removesuffix(" is complete")
    return Path(folder)


@pytest.fixture(scope="session")
def asterisk(asterisk_root: Path) -> Iterator[AsteriskServer]:
    """One Asterisk for all tests that leave it as it was."""
    with AsteriskServer(asterisk_root) as server:
        yield server


@pytest.fixture
def own_asterisk(asterisk_root: Path) -> Iterator[AsteriskServer]:
    """One for a test that restarts it."""
    with AsteriskServer(asterisk_root) as server:
        yield server


def bridge_config(
    server: AsteriskServer, media: str = "auto", media_format: str = "ulaw", **calls: Any
) -> BridgeConfig:
    limits: dict[str, Any] = {"drain_s": 0.5, "goodbye_s": 1.0, **calls}
    return BridgeConfig(
        ari=AriConfig(
            url=server.url,  # type: ignore[arg-type]
            username=USER,
            password=SecretStr(PASSWORD),
            reconnect_max_s=1.0,
        ),
        media=MediaConfig(kind=media, format=media_format),  # type: ignore[arg-type]
        calls=CallsConfig(**limits),
    )


@pytest.fixture
def run_bridge() -> RunBridge:
    """`async with run_bridge(server, conversation, media="rtp", max_calls=1) as bridge`."""

    def run(
        server: AsteriskServer, converse: Conversation, **settings: Any
    ) -> AbstractAsyncContextManager[Bridge]:
        return running_bridge(bridge_config(server, **settings), converse)

    return run
