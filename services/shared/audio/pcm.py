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
            return np.asarray(linear / 32768, dtype=np.float32)
        case Encoding.PCM_F32LE:
            # A client's NaN would poison every filter behind it for the rest of the session.
            samples = np.nan_to_num(np.frombuffer(data, dtype="<f4"), nan=0.0)
            return np.asarray(np.clip(samples, -1.0, 1.0), dtype=np.float32)
        case Encoding.MULAW:
            return mulaw_table()[np.frombuffer(data, dtype=np.uint8)]
        case Encoding.ALAW:
            return alaw_table()[np.frombuffer(data, dtype=np.uint8)]


def _encode(encoding: Encoding, samples: Floats) -> bytes:
    if encoding is Encoding.PCM_F32LE:
        return np.clip(samples, -1.0, 1.0).astype("<f4").tobytes()
    linear = to_int16(samples)
    match encoding:
        case Encoding.MULAW:
            return _mulaw_codes()[linear.view(np.uint16)].tobytes()
        case Encoding.ALAW:
            return _alaw_codes()[linear.view(np.uint16)].tobytes()
        case _:
            return linear.astype("<i2").tobytes()


def to_int16(samples: Floats) -> npt.NDArray[np.int16]:
    """[-1, 1] to 16 bits: rounded to the nearest, clipped."""
    scaled = np.rint(samples * np.float32(32768))
    return np.asarray(np.clip(scaled, -32768, 32767), dtype=np.int16)


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
    codes = _nearest_codes(mulaw_table())
    codes[0] = 0xFF  # of the two zeros the positive one: what lines and players know as silence
    return codes


@cache
def _alaw_codes() -> npt.NDArray[np.uint8]:
    return _nearest_codes(alaw_table())


def _nearest_codes(table: Floats) -> npt.NDArray[np.uint8]:
    """The nearest code of every 16-bit sample [65536], indexed by the sample's unsigned bits."""
    values = (table * 32768).astype(np.int32)
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    linear = np.arange(65_536, dtype=np.uint16).view(np.int16).astype(np.int32)
    right = np.clip(np.searchsorted(ordered, linear), 1, 255)
    left = right - 1
    nearer_left = linear - ordered[left] < ordered[right] - linear
    return order[np.where(nearer_left, left, right)].astype(np.uint8)
