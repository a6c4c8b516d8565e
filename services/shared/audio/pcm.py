"""Raw audio on the wire ↔ float samples: linear PCM and the G.711 companding laws. Pure numpy."""

from dataclasses import dataclass
from enum import StrEnum
from functools import cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

MIN_RATE = 8000
MAX_RATE = 48_000
MAX_CHANNELS = 2


class Encoding(StrEnum):
    """How one sample of one channel is written."""

    PCM_S16LE = "pcm_s16le"
    PCM_F32LE = "pcm_f32le"
    MULAW = "mulaw"
    ALAW = "alaw"


_SAMPLE_BYTES = {Encoding.PCM_S16LE: 2, Encoding.PCM_F32LE: 4, Encoding.MULAW: 1, Encoding.ALAW: 1}


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """Encoding, sample rate (Hz) and channels (interleaved) of a stream of bytes.

    Raises:
        ValueError: for a rate or a number of channels out of range.
    """

    encoding: Encoding
    sample_rate: int
    channels: int = 1

    def __post_init__(self) -> None:
        if not MIN_RATE <= self.sample_rate <= MAX_RATE:
            raise ValueError(f"sample_rate {self.sample_rate} is not in {MIN_RATE}…{MAX_RATE}")
        if not 1 <= self.channels <= MAX_CHANNELS:
            raise ValueError(f"channels {self.channels} is not in 1…{MAX_CHANNELS}")

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of all channels."""
        return _SAMPLE_BYTES[self.encoding] * self.channels

    @property
    def bytes_per_s(self) -> int:
        return self.frame_bytes * self.sample_rate

    def decode(self, data: bytes) -> Floats:
        """Whole frames to mono samples [n] in [-1, 1]; channels are averaged.

        Raises:
            ValueError: when `data` ends inside a frame.
        """
        samples = _decode(self.encoding, data)
        if self.channels == 1:
            return samples
        frames = samples.reshape(-1, self.channels)
        return np.asarray(frames.mean(axis=1, dtype=np.float32), dtype=np.float32)

    def encode(self, samples: Floats) -> bytes:
        """Mono samples [n] to bytes, clipped to full scale, the same in every channel."""
        if self.channels > 1:
            samples = np.repeat(samples, self.channels)
        return _encode(self.encoding, samples)


def _decode(encoding: Encoding, data: bytes) -> Floats:
    match encoding:
        case Encoding.PCM_S16LE:
            linear = np.frombuffer(data, dtype="<i2").astype(np.float32)
            linear *= np.float32(1 / 32768)
            return linear
        case Encoding.PCM_F32LE:
            # A client's NaN would poison every filter behind it for the rest of the session.
            return sanitised(np.frombuffer(data, dtype="<f4").astype(np.float32, copy=False))
        case Encoding.MULAW:
            return mulaw_table()[np.frombuffer(data, dtype=np.uint8)]
        case Encoding.ALAW:
            return alaw_table()[np.frombuffer(data, dtype=np.uint8)]


def _encode(encoding: Encoding, samples: Floats) -> bytes:
    if encoding is Encoding.PCM_F32LE:
        return sanitised(samples).astype("<f4", copy=False).tobytes()
    linear = to_int16(samples)
    match encoding:
        case Encoding.MULAW:
            return _mulaw_codes()[linear.view(np.uint16)].tobytes()
        case Encoding.ALAW:
            return _alaw_codes()[linear.view(np.uint16)].tobytes()
        case _:
            return linear.astype("<i2", copy=False).tobytes()


def sanitised(samples: Floats) -> Floats:
    """Samples clipped to [-1, 1], with 0 for what is no number or infinite."""
    finite = np.isfinite(samples)
    if not finite.all():
        samples = np.where(finite, samples, np.float32(0))
    return np.clip(samples, np.float32(-1), np.float32(1))


def to_int16(samples: Floats) -> npt.NDArray[np.int16]:
    """[-1, 1] to 16 bits: rounded to the nearest, clipped; the inverse of decoding pcm_s16le."""
    scaled = np.rint(sanitised(samples) * np.float32(32768))
    return np.asarray(np.minimum(scaled, np.float32(32767)), dtype=np.int16)


@cache
def mulaw_table() -> Floats:
    """Values [256] of the µ-law codes (ITU-T G.711, table 2): bits inverted, 14-bit magnitudes."""
    codes = ~np.arange(256, dtype=np.uint8)
    exponent, mantissa = (codes >> 4) & 7, (codes & 15).astype(np.int32)
    magnitude = (((mantissa << 3) + 132) << exponent) - 132
    values = np.where(codes & 128, -magnitude, magnitude)
    return values.astype(np.float32) / np.float32(32768)


@cache
def alaw_table() -> Floats:
    """Values [256] of the A-law codes (ITU-T G.711, table 1): even bits inverted, 13-bit."""
    codes = np.arange(256, dtype=np.uint8) ^ 0x55
    exponent, mantissa = ((codes >> 4) & 7).astype(np.int32), (codes & 15).astype(np.int32)
    linear = (mantissa << 4) + 8
    magnitude = np.where(exponent == 0, linear, (linear + 256) << np.maximum(exponent - 1, 0))
    values = np.where(codes & 128, magnitude, -magnitude)
    return values.astype(np.float32) / np.float32(32768)


@cache
def _mulaw_codes() -> npt.NDArray[np.uint8]:
    """The code of every 16-bit sample [65536], indexed by its unsigned bits.

    Segments start at 33 << segment of the biased 14-bit magnitude (G.711, table 2a).
    """
    linear, magnitude = _signs_and_magnitudes()
    biased = np.minimum((magnitude >> 2) + 33, 8191)
    segment = _bit_length(biased) - 6
    mantissa = (biased >> (segment + 1)) & 15
    codes = (segment << 4 | mantissa) ^ np.where(linear < 0, 0x7F, 0xFF)
    return np.asarray(codes, dtype=np.uint8)


@cache
def _alaw_codes() -> npt.NDArray[np.uint8]:
    """The code of every 16-bit sample [65536]; 12-bit magnitudes (G.711, table 1a)."""
    linear, magnitude = _signs_and_magnitudes()
    magnitude = magnitude >> 4
    segment = np.maximum(_bit_length(magnitude) - 4, 0)
    mantissa = (magnitude >> np.maximum(segment - 1, 0)) & 15
    codes = (segment << 4 | mantissa) ^ np.where(linear < 0, 0x55, 0xD5)
    return np.asarray(codes, dtype=np.uint8)


def _signs_and_magnitudes() -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Every 16-bit sample, and its magnitude in one's complement, so that -1 lies next to 0."""
    linear = np.arange(65_536, dtype=np.uint16).view(np.int16).astype(np.int32)
    return linear, np.where(linear < 0, ~linear, linear)


def _bit_length(values: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    return np.frexp(values.astype(np.float64))[1]
