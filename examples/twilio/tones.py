"""Keys as sounds (ITU-T Q.23): a media stream has no other way to press them. Pure."""

import numpy as np

from services.shared.audio.pcm import AudioFormat

_LOW = (697, 770, 852, 941)
_HIGH = (1209, 1336, 1477, 1633)
_KEYS = ("123A", "456B", "789C", "*0#D")
_TONE_S = _GAP_S = 0.1
_LEVEL = 0.25
"""Of each of the two sines: together -9 dBFS."""


def key_tones(audio: AudioFormat, digits: str) -> bytes:
    """
    Raises:
        ValueError: not digits.
    """
    return b"".join(_tone(audio, digit) for digit in digits.upper())


def _tone(audio: AudioFormat, digit: str) -> bytes:
    for row, keys in zip(_LOW, _KEYS, strict=True):
        if digit in keys:
            pair = (row, _HIGH[keys.index(digit)])
            break
    else:
        raise ValueError(f"{digit!r} is no key")
    times = np.arange(round(audio.sample_rate * _TONE_S)) / audio.sample_rate
    sound = sum(_LEVEL * np.sin(2 * np.pi * hertz * times) for hertz in pair)
    gap = np.zeros(round(audio.sample_rate * _GAP_S))
    return audio.encode(np.concatenate([sound, gap]).astype(np.float32))
