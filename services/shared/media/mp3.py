"""MP3 as a stream: frames as LAME makes them, after a header that removes the encoder's delay.

An MP3 decoder puts out 1105 samples before the audio. The LAME tag, a silent frame in front, tells
players to drop them; it is known at once. How many samples to drop at the end is not known before
the end, when the tag has long been sent, so a streamed MP3 ends in up to one frame and 46 samples
of silence, at most 29 ms. (Its lower rates would make that 39 to 78 ms, so they are not used.)
"""

from typing import NamedTuple

import av
import numpy as np

from services.shared.audio.pcm import Floats, sanitised

RATES = (22_050, 24_000, 44_100, 48_000)
_KBITS = 64
_ENCODER_DELAY = 576
"""Samples by LAME; decoders add 529 of their own."""


class _Layer3(NamedTuple):
    """How the frames of a rate are built and named (ISO 11172-3 §2.4, 13818-3 §2.4)."""

    version: int
    rate_index: int
    bitrate_index: int
    frame_samples: int
    side_info_bytes: int


def _layer3(rate: int) -> _Layer3:
    rate_index = 0 if rate % 11_025 == 0 else 1
    if rate >= 32_000:
        return _Layer3(3, rate_index, 5, 1152, 17)
    return _Layer3(2, rate_index, 8, 576, 9)


class Mp3Frames:
    """Mono samples → the bytes of an MP3 stream, 64 kbit/s."""

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate
        self._codec = av.CodecContext.create("libmp3lame", "w")
        self._codec.sample_rate = sample_rate
        self._codec.layout = "mono"
        self._codec.format = "fltp"
        self._codec.bit_rate = _KBITS * 1000
        self._head = gapless_header(sample_rate)

    def push(self, samples: Floats) -> bytes:
        frame = av.AudioFrame.from_ndarray(sanitised(samples)[np.newaxis], "fltp", "mono")
        frame.sample_rate = self._rate
        return self._encode(frame)

    def finish(self) -> bytes:
        return self._encode(None)

    def _encode(self, frame: av.AudioFrame | None) -> bytes:
        head, self._head = self._head, b""
        return head + b"".join(bytes(packet) for packet in self._codec.encode(frame))


def gapless_header(rate: int) -> bytes:
    """A silent frame with a Xing and LAME tag that tells the delay, and no length."""
    layer = _layer3(rate)
    sync = 0xFFE00000 | layer.version << 19 | 1 << 17 | 1 << 16  # layer 3, no CRC
    mono = 3 << 6
    header = sync | layer.bitrate_index << 12 | layer.rate_index << 10 | mono
    frame = header.to_bytes(4, "big") + bytes(layer.side_info_bytes)
    frame += b"Info" + bytes(4)  # no flags: neither length nor size nor seek table is known
    frame += b"LAME3.100" + bytes(2 + 4 + 4 + 1) + bytes([_KBITS])
    frame += (_ENCODER_DELAY << 12).to_bytes(3, "big") + bytes(1 + 1 + 2 + 4 + 2)
    frame += _crc16(frame).to_bytes(2, "big")
    return frame.ljust(layer.frame_samples // 8 * _KBITS * 1000 // rate, b"\0")


def _crc16(data: bytes) -> int:
    """CRC-16/ARC, as in the LAME tag."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return crc
