"""Which Asterisk can do what."""

import pytest

from examples.asterisk_bridge.ari import Info
from examples.asterisk_bridge.media.choice import can_websocket


@pytest.mark.parametrize(
    "version, can",
    [
        ("22.10.1+dfsg+~cs6.17.60671434-1", True),
        ("22.8.0", True),
        ("22.7.0", False),
        ("20.18.0", True),
        ("20.17.1", False),
        ("20.9", False),
        ("18.26.4", False),
        ("23.1.0", False),
        ("23.2.0-rc1", True),
        ("24.0.0", True),
        ("GIT-master-1234abcd", False),
        ("", False),
    ],
)
def test_versions_with_all_that_it_takes(version: str, can: bool) -> None:
    assert can_websocket(Info(version=version)) is can
