"""RTP as it stands on the wire, with a peer that loses, disorders and pretends."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest

from examples.asterisk_bridge.config import MediaConfig
from examples.asterisk_bridge.media.rtp import RtpMedia
from examples.asterisk_bridge.media.rtp_packets import RtpPacket, parse
from examples.voice_agent.transport import AudioIn, MarkPlayed, TransportClosed
from tests.services.serving import eventually


class Line:
    """A media under test, what it brought, and the socket at its other end."""

    def __init__(self, config: MediaConfig, peer: socket.socket) -> None:
        self.brought: list[AudioIn | MarkPlayed] = []
        self.media = RtpMedia(config, self.brought.append)
        self.peer = peer
        self.host, self.port = "", 0

    async def receive(self, count: int) -> list[RtpPacket]:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(5):
            return [parse(await loop.sock_recv(self.peer, 2000)) for _ in range(count)]

    def send(self, number: int, payload: bytes, payload_type: int = 0) -> None:
        packet = RtpPacket(payload_type, number, number * 160, 7, payload)
        self.peer.sendto(packet.encode(), (self.host, self.port))

    @property
    def heard(self) -> bytes:
        return b"".join(each.data for each in self.brought if isinstance(each, AudioIn))


@asynccontextmanager
async def connected(media_format: str = "ulaw") -> AsyncIterator[Line]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.setblocking(False)
        peer.bind(("127.0.0.1", 0))
        config = MediaConfig.model_validate({"kind": "rtp", "format": media_format})
        line = Line(config, peer)
        parameters = await line.media.open()
        assert parameters["format"] == media_format
        line.host, port = parameters["external_host"].split(":")
        line.port = int(port)
        here = str(peer.getsockname()[1])
        variables = dict(zip(line.media.needs, ("127.0.0.1", here), strict=True))
        await line.media.connect(variables)
        running = asyncio.create_task(line.media.run())
        try:
            yield line
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await line.media.close()


async def test_silence_is_sent_at_the_pace_of_speech() -> None:
    async with connected() as line:
        await line.receive(1)
        began = time.monotonic()
        packets = await line.receive(25)
        assert 0.4 < time.monotonic() - began < 1.0
    assert {packet.payload for packet in packets} == {b"\xff" * 160}
    steps = [
        ((after.sequence - before.sequence) & 0xFFFF, (after.timestamp - before.timestamp))
        for before, after in zip(packets, packets[1:], strict=False)
    ]
    assert {sequence for sequence, _ in steps} == {1}
    assert len({packet.ssrc for packet in packets}) == 1


async def test_linear_audio_is_big_endian_on_the_wire() -> None:
    samples = np.arange(320, dtype="<i2")
    async with connected("slin16") as line:
        await line.media.send_audio(samples.tobytes())
        while not any((packet := (await line.receive(1))[0]).payload):
            pass
        assert packet.payload_type == 118
        assert packet.payload == samples.astype(">i2").tobytes()
        line.send(1, samples.astype(">i2").tobytes(), payload_type=118)
        await eventually(lambda: bool(line.heard))
        await line.receive(2)
    assert line.heard == samples.tobytes()


async def test_loss_and_disorder_keep_the_time() -> None:
    async with connected() as line:
        for number in (10, 12, 11, 14, 15):
            line.send(number, bytes([number]) * 160)
        await eventually(lambda: b"\x0f" in line.heard)
        await line.receive(2)
    expected = [bytes([number]) * 160 for number in (10, 11, 12)]
    expected += [b"\xff" * 160, *(bytes([number]) * 160 for number in (14, 15))]
    assert line.heard == b"".join(expected)


async def test_keys_and_strangers_are_not_heard() -> None:
    async with connected() as line:
        line.send(1, b"\x01" * 160)
        line.send(2, b"\x05\x0a\x01\x40", payload_type=101)
        line.send(3, b"\x03" * 160)
        line.peer.sendto(b"rubbish", (line.host, line.port))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(RtpPacket(0, 4, 0, 7, b"\x04" * 160).encode(), (line.host, line.port))
        await eventually(lambda: b"\x03" in line.heard and line.media.strangers == 2)
        await line.receive(2)
    assert line.heard == b"\x01" * 160 + b"\x03" * 160
    assert line.media.strangers == 2


async def test_a_pause_stops_within_a_frame_and_loses_none() -> None:
    frames = [bytes([number]) * 160 for number in range(1, 11)]
    async with connected() as line:
        await line.media.send_audio(b"".join(frames))
        await line.media.mark("end")
        got = [packet.payload for packet in await line.receive(4)]
        await line.media.pause()
        got += [packet.payload for packet in await line.receive(5)]
        assert line.brought == []
        await line.media.resume()
        got += [packet.payload for packet in await line.receive(12)]
    assert [payload for payload in got if payload != b"\xff" * 160] == frames
    assert got[5:9] == [b"\xff" * 160] * 4
    assert [each.name for each in line.brought if isinstance(each, MarkPlayed)] == ["end"]


async def test_nothing_can_be_done_with_a_closed_line() -> None:
    async with connected() as line:
        pass
    for command in (line.media.pause(), line.media.flush(), line.media.send_audio(b"\xff")):
        with pytest.raises(TransportClosed):
            await command
