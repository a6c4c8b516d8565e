"""Clients of every kind on a real WebSocket: the service outlives them all."""

import asyncio
import json
import logging
import socket
import time
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from services.shared.protocol.base import Error, ErrorCode
from tests.services.serving import LiveService, eventually
from tests.services.shared.runtime.conftest import Start

pytestmark = pytest.mark.timeout(30)


def talk(live: LiveService, **options: Any) -> connect:
    """Buffers are kept small, so that a client that does not read is soon noticed."""
    options = {"proxy": None, "compression": None, "max_size": None, "max_queue": 1} | options
    return connect(f"{live.ws}/talk", **options)


async def ending(client: ClientConnection) -> tuple[Error | None, int | None, list[str | bytes]]:
    """Read to the end: the error, the close code and what came before."""
    frames: list[str | bytes] = []
    try:
        async with asyncio.timeout(15):
            while True:
                frames.append(await client.recv())
    except ConnectionClosed:
        pass
    errors = [frame for frame in frames if isinstance(frame, str) and '"error"' in frame]
    assert len(errors) <= 1
    rest = [frame for frame in frames if frame not in errors]
    return (
        Error.model_validate_json(errors[0]) if errors else None,
        client.close_code,
        rest,
    )


async def refusal(live: LiveService, **options: Any) -> tuple[int, dict[str, str], Error]:
    with pytest.raises(InvalidStatus) as caught:
        async with talk(live, **options):
            pass
    response = caught.value.response
    assert response.body is not None
    headers = {name.lower(): value for name, value in response.headers.raw_items()}
    return response.status_code, headers, Error.model_validate_json(response.body)


async def echo(client: ClientConnection, message: str | bytes) -> int:
    await client.send(message)
    async with asyncio.timeout(5):
        return int(json.loads(await client.recv())["size"])


async def still_serves(live: LiveService) -> None:
    await eventually(lambda: live.lifecycle.sessions == 0, 10)
    async with talk(live) as client:
        assert await echo(client, "hello") == 5


# Coming in.


async def test_one_too_many_hears_so_before_the_upgrade(start_tiny: Start) -> None:
    live = start_tiny(max_sessions=1)
    async with talk(live) as client:
        await echo(client, "here")
        status, headers, error = await refusal(live)
        assert (status, error.code, error.retryable) == (503, ErrorCode.OVERLOADED, True)
        assert int(headers["retry-after"]) >= 1
    await still_serves(live)


async def test_keys_are_checked_before_the_upgrade(start_tiny: Start) -> None:
    live = start_tiny(keys=("red",))
    for options in (
        {},
        {"additional_headers": {"Authorization": "Bearer blue"}},
        {"subprotocols": [Subprotocol("voice"), Subprotocol("blue")]},
    ):
        status, headers, error = await refusal(live, **options)
        assert (status, error.code) == (401, ErrorCode.UNAUTHORIZED)
        assert headers["www-authenticate"] == "Bearer"
    async with talk(live, additional_headers={"Authorization": "Bearer red"}) as client:
        assert await echo(client, "hello") == 5
    offered = [Subprotocol("voice"), Subprotocol("red")]
    async with talk(live, subprotocols=offered) as client:
        assert client.subprotocol == "voice", "the key is not echoed"
        assert await echo(client, b"hello") == 5
    assert live.metric("voice_errors_total", code="unauthorized") == 3


# Too much, too often, too late.


@pytest.mark.parametrize("message", [b"x" * 2000, "x" * 2000, "ä" * 700])
async def test_a_message_over_the_limit_is_told_and_closed(
    start_tiny: Start, message: str | bytes
) -> None:
    live = start_tiny(max_message_bytes=1024)
    async with talk(live) as client:
        assert await echo(client, b"x" * 1024) == 1024
        await client.send(message)
        error, code, _ = await ending(client)
    assert error is not None
    assert (error.code, code) == (ErrorCode.MESSAGE_TOO_LARGE, 1009)
    assert "1024" in error.message
    await still_serves(live)


async def test_a_message_far_over_the_limit_is_not_even_kept(start_tiny: Start) -> None:
    live = start_tiny(max_message_bytes=1024)
    async with talk(live) as client:
        await client.send(b"x" * 5000)
        assert await ending(client) == (None, 1009, [])
    async with talk(live) as client:
        with pytest.raises(ConnectionClosed):
            for _ in range(100):
                await client.send(b"x" * 1_000_000)
    await still_serves(live)


@pytest.mark.parametrize("message", [b"", "", b"x", "{}"])
async def test_a_flood_of_small_messages_is_stopped(
    start_tiny: Start, message: str | bytes
) -> None:
    live = start_tiny(max_messages_per_s=20)
    began = time.monotonic()
    async with talk(live, max_queue=None) as client:
        with pytest.raises(ConnectionClosed):
            for _ in range(10_000):
                await client.send(message)
                await asyncio.sleep(0)
        error, code, echoes = await ending(client)
    assert error is not None
    assert (error.code, code) == (ErrorCode.TOO_MANY_MESSAGES, 1008)
    assert 90 <= len(echoes) <= 120 + 20 * (time.monotonic() - began)
    await still_serves(live)


async def test_phone_audio_and_files_are_no_flood(start_tiny: Start) -> None:
    live = start_tiny(max_messages_per_s=10)
    async with talk(live) as client:
        for _ in range(300):
            assert await echo(client, b"x" * 160) == 160


@pytest.mark.real_time
async def test_who_sends_nothing_is_let_go(start_tiny: Start) -> None:
    live = start_tiny(idle_s=0.2)
    async with talk(live) as client:
        await asyncio.sleep(0.12)
        await echo(client, "still here")
        await asyncio.sleep(0.12)
        await echo(client, "and now")
        error, code, _ = await ending(client)
    assert error is not None
    assert (error.code, error.retryable, code) == (ErrorCode.IDLE_TIMEOUT, True, 1008)


async def test_who_waits_for_the_server_is_not_idle(start_tiny: Start) -> None:
    live = start_tiny(idle_s=0.1, busy=True)
    async with talk(live) as client:
        await asyncio.sleep(0.35)
        assert await echo(client, "hello") == 5


async def test_a_session_has_an_end(start_tiny: Start) -> None:
    live = start_tiny(session_s=0.2)
    async with talk(live) as client:
        error, code, _ = await ending(client)
    assert error is not None
    assert (error.code, code) == (ErrorCode.SESSION_TOO_LONG, 1008)


# Those who do not read.


def deaf(live: LiveService) -> socket.socket:
    """A connection whose kernel takes next to nothing of what is not read."""
    host, port = live.address.split(":")
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect((host, int(port)))
    sock.setblocking(False)
    return sock


@pytest.mark.parametrize("order", ["flood 500 100000", "chatter 400 100000", "chatter 9999 10"])
async def test_who_does_not_read_is_cut_off(
    start_tiny: Start, order: str, caplog: pytest.LogCaptureFixture
) -> None:
    live = start_tiny(send_s=0.3)
    client = await talk(live, sock=deaf(live), ping_interval=None)
    client.transport.pause_reading()
    await client.send(order)
    await eventually(lambda: live.metric("voice_errors_total", code="slow_client") == 1)
    await still_serves(live)
    client.transport.abort()
    await client.wait_closed()
    assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_an_ending_to_somebody_who_does_not_read(
    start_tiny: Start, caplog: pytest.LogCaptureFixture
) -> None:
    live = start_tiny(send_s=0.3)
    client = await talk(live, sock=deaf(live), ping_interval=None)
    client.transport.pause_reading()
    assert live.lifecycle.sessions == 1
    await client.send("chatter 1 30000000")
    await client.send("end")
    await still_serves(live)
    client.transport.abort()
    await client.wait_closed()
    assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_all_is_delivered_before_the_end_to_a_slow_reader(start_tiny: Start) -> None:
    live = start_tiny(send_s=5.0)
    async with talk(live, sock=deaf(live)) as client:
        client.transport.pause_reading()
        await client.send("chatter 100 100000")
        await client.send("end")
        await asyncio.sleep(0.3)
        client.transport.resume_reading()
        error, code, frames = await ending(client)
    assert (error, code) == (None, 1000)
    numbers = [json.loads(frame)["text"][:3] for frame in frames]
    assert numbers == [f"{number:03}" for number in range(100)]


async def test_audio_waits_for_the_reader(start_tiny: Start) -> None:
    live = start_tiny(send_s=5.0, outbox_messages=8)
    async with talk(live) as client:
        await client.send("flood 200 50000")
        await client.send("end")
        error, code, frames = await ending(client)
    assert (error, code) == (None, 1000)
    assert [frame[0] for frame in frames] == list(range(200))


# Those who vanish, and faults of ours.


async def test_who_vanishes_leaves_nothing_behind(start_tiny: Start) -> None:
    live = start_tiny()
    before = live.tasks()
    for _ in range(5):
        client = await talk(live)
        await client.send("flood 100 100000")
        client.transport.abort()
        await client.wait_closed()
    await eventually(lambda: live.lifecycle.sessions == 0)
    await eventually(lambda: live.tasks() <= before + 1)
    await still_serves(live)


async def test_who_vanishes_as_it_is_let_go_is_no_fault_of_ours(
    start_tiny: Start, caplog: pytest.LogCaptureFixture
) -> None:
    live = start_tiny()
    for _ in range(30):
        client = await talk(live)
        await client.send("end")
        client.transport.abort()
        await client.wait_closed()
    await eventually(lambda: live.lifecycle.sessions == 0)
    assert [record.getMessage() for record in caplog.records if record.exc_info] == []


async def test_a_fault_of_ours_is_told_without_its_inside(start_tiny: Start) -> None:
    live = start_tiny()
    async with talk(live) as client:
        await client.send("fault")
        error, code, _ = await ending(client)
    assert error is not None
    assert (error.code, code) == (ErrorCode.INTERNAL, 1011)
    assert "secret" not in error.message
    await still_serves(live)
