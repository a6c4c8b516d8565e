"""Bytes that no WebSocket library would send, found by fuzzing: each is answered, and forgotten."""

import asyncio

import pytest
import structlog.testing

from tests.services.serving import LiveService, eventually
from tests.services.shared.runtime.conftest import Start

UPGRADE = (
    b"GET /talk HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)
NOT_UTF8 = b"\x81\x82\x00\x00\x00\x00\xff\xfe"
IN_TWO_PARTS = b"\x01\x81\x00\x00\x00\x00\xff" + b"\x80\x81\x00\x00\x00\x00\xfe"
CUT_CHARACTER = b"\x01\x81\x00\x00\x00\x00\xc3" + b"\x80\x81\x00\x00\x00\x00\xa4"
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


@pytest.mark.parametrize("frames", [NOT_UTF8, IN_TWO_PARTS])
async def test_it_is_told_by_a_close_code_and_a_line_of_log(
    start_tiny: Start, frames: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    live = start_tiny()
    with structlog.testing.capture_logs() as lines:
        answer = await said(live, UPGRADE, frames)
        await eventually(lambda: live.lifecycle.sessions == 0)
    assert b"\x88" in answer and (1007).to_bytes(2, "big") in answer
    assert [record for record in caplog.records if record.exc_info] == []
    told = [line for line in lines if "UTF-8" in line["event"]]
    assert [line["log_level"] for line in told] == ["info"]


async def test_a_character_may_be_cut_between_two_frames(start_tiny: Start) -> None:
    live = start_tiny(idle_s=0.3)
    assert b'"size":1' in await said(live, UPGRADE, CUT_CHARACTER)
