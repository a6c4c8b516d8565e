"""Bytes that no WebSocket library would send, found by fuzzing: each is answered, and forgotten."""

import asyncio

import pytest

from tests.services.serving import LiveService, eventually
from tests.services.shared.runtime.conftest import Start

UPGRADE = (
    b"GET /talk HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)
NOT_UTF8 = b"\x81\x82\x00\x00\x00\x00\xff\xfe"
CLOSE = b"\x88\x82\x00\x00\x00\x00\x03\xe8"


async def said(live: LiveService, request: bytes, frames: bytes = b"") -> bytes:
    """All that the service says before it closes the connection."""
    host, port = live.address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        async with asyncio.timeout(5):
            writer.write(request + b"\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write(frames)
            return head + await reader.read()
    finally:
        writer.close()


async def test_a_header_that_is_too_long_is_answered(start_tiny: Start) -> None:
    live = start_tiny()
    assert b"HTTP/1.1 400 " in await said(live, UPGRADE + b"X: " + b"x" * 9000 + b"\r\n")


@pytest.mark.parametrize("frames", [NOT_UTF8, NOT_UTF8 + CLOSE, CLOSE + NOT_UTF8])
async def test_text_that_is_not_utf_8_is_no_fault_of_ours(start_tiny: Start, frames: bytes) -> None:
    live = start_tiny()
    assert b"HTTP/1.1 101 " in await said(live, UPGRADE, frames)
    await eventually(lambda: live.lifecycle.sessions == 0)
    assert live.faults == []
