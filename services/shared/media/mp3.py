"""MP3 as a stream: frames as LAME makes them, after a header that removes the encoder's delay.

An MP3 decoder puts out 1105 samples before the audio. The LAME tag, a silent frame in front, tells
players to drop them; it is known at once. How many samples to drop at the end is not known before
the end, when the tag has long been sent, and a stream is a whole number of frames of 24 or 26 ms.
So a streamed MP3 ends in silence of up to 20 ms; where that would be more, the last frame is left
out, which takes up to 6 ms from the end of the audio. (The frames of lower rates are 36 to 72 ms
long, so they are not used.)
"""

from typing import NamedTuple

import av
import numpy as np

from services.shared.audio.pcm import Floats, sanitised

RATES = (22_050, 24_000, 44_100, 48_000)
_KBITS = 64
_ENCODER_DELAY = 576
_DECODER_DELAY = 529
"""Samples that come before the audio: by LAME, and by the decoder."""
_LONGEST_SILENCE_S = 0.02


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
        self._samples = self._frames = 0

    def push(self, samples: Floats) -> bytes:
        self._samples += len(samples)
        frame = av.AudioFrame.from_ndarray(sanitised(samples)[np.newaxis], "fltp", "mono")
        frame.sample_rate = self._rate
        return self._headed(self._encode(frame))

    def finish(self) -> bytes:
        frames = self._encode(None)
        if frames and self._silence_s() > _LONGEST_SILENCE_S:
            frames.pop()
        return self._headed(frames)

    def _encode(self, frame: av.AudioFrame | None) -> list[bytes]:
        frames = [bytes(packet) for packet in self._codec.encode(frame)]
        self._frames += len(frames)
        return frames

    def _headed(self, frames: list[bytes]) -> bytes:
        head, self._head = self._head, b""
        return head + b"".join(frames)

    def _silence_s(self) -> float:
        """How much longer than the audio it would be."""
        decoded = self._frames * _layer3(self._rate).frame_samples - _ENCODER_DELAY - _DECODER_DELAY
        return (decoded - self._samples) / self._rate


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
