"""Recordings whose truth is known: a tone between silences."""

import numpy as np

from services.shared.audio.pcm import Floats
from services.shared.media.wav import wav_bytes


def tone(seconds: float, rate: int = 24_000, level: float = 0.3) -> Floats:
    """A sine of 300 Hz."""
    at = np.arange(int(seconds * rate)) / rate
    return (level * np.sin(2 * np.pi * 300 * at)).astype(np.float32)


def silence(seconds: float, rate: int = 24_000) -> Floats:
    return np.zeros(int(seconds * rate), dtype=np.float32)


def recording(before: float, sounding: float, after: float, level: float = 0.3) -> bytes:
    """A WAV file, 24 kHz."""
    parts = [silence(before), tone(sounding, level=level), silence(after)]
    return wav_bytes(np.concatenate(parts), 24_000)
