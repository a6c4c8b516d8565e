"""Asterisk's words on the media socket; its audio comes on the same one, whatever it says."""

import pytest

from examples.asterisk_bridge.config import MediaConfig
from examples.asterisk_bridge.media.websocket import WebSocketMedia


@pytest.mark.parametrize(
    "message",
    [
        "",
        "null",
        "[]",
        '"STATUS"',
        "[" * 100_000,
        '{"event":"STATUS","queue_length":null}',
        '{"event":"STATUS","queue_length":"many"}',
        '{"event":"STATUS","queue_length":Infinity}',
        '{"event":"MEDIA_START","optimal_frame_size":[]}',
    ],
    ids=lambda message: message[:40],
)
def test_what_cannot_be_read_is_passed_over(message: str) -> None:
    media = WebSocketMedia(MediaConfig(), "http://127.0.0.1:1", lambda event: None)
    media._told(message)
    media._told('{"event":"MEDIA_XOFF"}')
    assert media._feeder.full
