"""Audio over Asterisk's ExternalMedia in RTP over UDP: we keep the clock.

One packet leaves every 20 ms from the connection to the end, silence when there is nothing to say:
carriers and NATs forget a stream that stops. Marks, pauses and flushes are ours alone, because
Asterisk plays what it gets. What has been sent is out of our hands: at most one frame.
"""

import asyncio
import random
import time
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import structlog

from examples.asterisk_bridge.config import MediaConfig
from examples.asterisk_bridge.media.base import (
    FORMATS,
    Deliver,
    MediaError,
    MediaFormat,
)
from examples.asterisk_bridge.media.jitter import JitterBuffer
from examples.asterisk_bridge.media.rtp_packets import RtpStream, parse
from examples.voice_agent.outbox import Outbox
from examples.voice_agent.pacing import FrameClock
from examples.voice_agent.playout import FRAME_S
from examples.voice_agent.transport import AudioIn, MarkPlayed, TransportClosed

log = structlog.get_logger(__name__)

_ADDRESS = "UNICASTRTP_LOCAL_ADDRESS"
_PORT = "UNICASTRTP_LOCAL_PORT"
_LARGEST_PAYLOAD = 1400


class RtpMedia(asyncio.DatagramProtocol):
    """See :class:`..base.Media`.

    Raises:
        ValueError: a format that Asterisk does not send over RTP.
    """

    def __init__(self, config: MediaConfig, deliver: Deliver) -> None:
        self.format: MediaFormat = FORMATS[config.format]
        if self.format.payload_type is None:
            raise ValueError(f"{config.format} does not go over RTP: ulaw, alaw or slin16 do")
        self._config = config
        self._deliver = deliver
        limit = self.format.audio.bytes_per_s * config.buffer_ms // 1000
        self._outbox = Outbox(self.format.frame_bytes, self.format.silence, limit)
        self._jitter = JitterBuffer(config.rtp_gap_ms / 1000, self._outbox.buffer.silent_frame)
        self._stream = RtpStream(
            self.format.payload_type,
            ssrc=random.getrandbits(32),
            sequence=random.getrandbits(16),
            timestamp=random.getrandbits(32),
        )
        self._transport: asyncio.DatagramTransport | None = None
        self._remote: tuple[str, int] | None = None
        self._paused = False
        self._reached: tuple[str, ...] = ()
        """Marks of the frame that is being heard."""
        self.strangers = 0
        """Datagrams that were not from Asterisk, or no RTP."""

    @property
    def needs(self) -> tuple[str, ...]:
        return (_ADDRESS, _PORT)

    async def open(self) -> Mapping[str, str]:
        loop = asyncio.get_running_loop()
        try:
            self._transport, _ = await loop.create_datagram_endpoint(
                lambda: self, local_addr=(self._config.rtp_host, 0)
            )
        except OSError as error:
            raise MediaError(f"no socket on {self._config.rtp_host}: {error}") from None
        host, port = self._transport.get_extra_info("sockname")[:2]
        return {"external_host": f"{host}:{port}", "format": self.format.name}

    async def connect(self, variables: Mapping[str, str]) -> None:
        try:
            self._remote = variables[_ADDRESS], int(variables[_PORT])
        except ValueError:
            raise MediaError(f"Asterisk names no RTP port: {dict(variables)}") from None

    async def run(self) -> None:
        clock = FrameClock(FRAME_S, time.monotonic())
        while True:
            await asyncio.sleep(max(0.0, clock.next_at - time.monotonic()))
            self._send_frame()
            self._give(self._jitter.due(time.monotonic()))
            skipped = clock.sent(time.monotonic())
            self._stream.skip(skipped * self.format.frame_samples)

    async def close(self) -> None:
        self._outbox.close()
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()
        if self._jitter.lost or self.strangers:
            log.info("rtp_received", lost=self._jitter.lost, strangers=self.strangers)

    async def send_audio(self, data: bytes) -> None:
        await self._outbox.send(data)

    async def mark(self, name: str) -> None:
        self._outbox.mark(name)

    async def pause(self) -> None:
        self._check()
        self._paused = True

    async def resume(self) -> None:
        self._check()
        self._paused = False

    async def flush(self) -> None:
        self._check()
        self._outbox.flush()
        self._paused = False

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if self._remote is None or addr[:2] != self._remote:
            self.strangers += 1
            return
        try:
            packet = parse(data)
        except ValueError:
            self.strangers += 1
            return
        if len(packet.payload) > _LARGEST_PAYLOAD:
            self.strangers += 1
            return
        if packet.payload_type != self.format.payload_type:
            # Keys (ARI tells us of them) and comfort noise are no audio, but have their numbers.
            packet = replace(packet, payload=b"")
        self._give(self._jitter.push(packet, time.monotonic()))

    def error_received(self, exc: Exception) -> None:
        """Asterisk's port is closed: its channel is ending, which ARI tells."""

    def _give(self, payloads: list[bytes]) -> None:
        now = time.monotonic()
        for payload in filter(None, payloads):
            self._deliver(AudioIn(self._swapped(payload), now))

    def _send_frame(self) -> None:
        now = time.monotonic()
        for name in self._reached:
            self._deliver(MarkPlayed(name, now))
        self._reached = ()
        data = b""
        while not self._paused and not data:
            frame = self._outbox.take(pad=True)
            if frame is None:
                break
            data = frame.data
            if data:
                self._reached = frame.marks
            else:
                for name in frame.marks:
                    self._deliver(MarkPlayed(name, now))
        payload = self._swapped(data or self._outbox.buffer.silent_frame)
        if self._transport is not None and self._remote is not None:
            packet = self._stream.packet(payload, self.format.frame_samples)
            self._transport.sendto(packet, self._remote)

    def _swapped(self, payload: bytes) -> bytes:
        """L16 is big-endian on the wire (RFC 3551, section 4.5.11), little-endian with us."""
        if self.format.audio.frame_bytes == 1:
            return payload
        whole = len(payload) & ~1
        return np.frombuffer(payload[:whole], dtype=">i2").astype("<i2").tobytes()

    def _check(self) -> None:
        if self._transport is None:
            raise TransportClosed("the call is over")
