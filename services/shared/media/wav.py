"""WAV (RIFF) headers, for files and for streams whose length nobody knows yet."""

import struct

from services.shared.audio.pcm import AudioFormat, Encoding, Floats

UNKNOWN_SIZE = 0xFFFFFFFF
_HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")
_PCM = 1


def wav_header(sample_rate: int, data_bytes: int | None) -> bytes:
    """The 44 bytes before 16-bit mono samples; None when their number is unknown (a stream)."""
    if data_bytes is not None and data_bytes > UNKNOWN_SIZE - _HEADER.size:
        raise ValueError("a WAV file holds at most 4 GiB")
    riff = UNKNOWN_SIZE if data_bytes is None else data_bytes + _HEADER.size - 8
    data = UNKNOWN_SIZE if data_bytes is None else data_bytes
    return _HEADER.pack(
        *(b"RIFF", riff, b"WAVE", b"fmt ", 16, _PCM, 1),
        *(sample_rate, sample_rate * 2, 2, 16, b"data", data),
    )


def wav_bytes(samples: Floats, sample_rate: int) -> bytes:
    """A complete WAV file, 16 bits, of mono samples [n]."""
    data = AudioFormat(Encoding.PCM_S16LE, sample_rate).encode(samples)
    return wav_header(sample_rate, len(data)) + data
