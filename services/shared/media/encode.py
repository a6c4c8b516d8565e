"""Synthesised samples → audio files and raw streams, sent while they are being made.

Decoded again, every format but MP3 has exactly the length of the input (Opus states its pre-skip in
the header and its end in the last page); MP3 has it within 20 ms, see `mp3`. Headers say "length
unknown" where a format has a place for it. What waits inside an encoder: FLAC two blocks of 40 ms,
Opus 6.5 ms and two packets of 20 ms, MP3 two or three frames of 26 ms, the others nothing.
"""

from enum import StrEnum
from typing import Protocol

import av
import numpy as np
from av.audio.stream import AudioStream

from services.shared.audio.pcm import (
    MAX_RATE,
    MIN_RATE,
    AudioFormat,
    Encoding,
    Floats,
    sanitised,
    to_int16,
)
from services.shared.audio.resample import StreamResampler
from services.shared.media.mp3 import RATES as MP3_RATES
from services.shared.media.mp3 import Mp3Frames
from services.shared.media.stream import OPUS_RATES
from services.shared.media.wav import wav_header


class FileFormat(StrEnum):
    """What `StreamEncoder` writes. Mono, 16 bits where the format has bits."""

    WAV = "wav"
    FLAC = "flac"
    MP3 = "mp3"
    OGG = "ogg"
    """Opus in Ogg, as is OPUS."""
    OPUS = "opus"
    PCM = "pcm"
    """Raw 16-bit little-endian samples."""
    MULAW = "mulaw"
    ALAW = "alaw"


_CONTENT_TYPES = {
    FileFormat.WAV: "audio/wav",
    FileFormat.FLAC: "audio/flac",
    FileFormat.MP3: "audio/mpeg",
    FileFormat.OGG: "audio/ogg; codecs=opus",
    FileFormat.OPUS: "audio/ogg; codecs=opus",
}
_RAW_CONTENT_TYPES = {
    FileFormat.PCM: "audio/pcm",
    FileFormat.MULAW: "audio/PCMU",
    FileFormat.ALAW: "audio/PCMA",
}
_RATES = {FileFormat.MP3: MP3_RATES, FileFormat.OGG: OPUS_RATES, FileFormat.OPUS: OPUS_RATES}


class _Writer(Protocol):
    def push(self, samples: Floats) -> bytes: ...

    def finish(self) -> bytes: ...


class StreamEncoder:
    """Mono samples at `source_rate` → bytes of one file or stream. One thread at a time.

    Formats that lack a sample rate get the next higher one they have: `sample_rate` tells.

    Raises:
        ValueError: unknown format, or a rate outside 8 to 48 kHz.
    """

    def __init__(
        self, file_format: FileFormat | str, sample_rate: int, *, source_rate: int | None = None
    ) -> None:
        if not MIN_RATE <= sample_rate <= MAX_RATE:
            raise ValueError(f"sample_rate {sample_rate} is not in {MIN_RATE}…{MAX_RATE}")
        self.format = _known(file_format)
        self.sample_rate = min(
            rate for rate in _RATES.get(self.format, (sample_rate,)) if rate >= sample_rate
        )
        self._resampler = StreamResampler(source_rate or sample_rate, self.sample_rate)
        self._writer = _new_writer(self.format, self.sample_rate)

    @property
    def content_type(self) -> str:
        """For HTTP; raw formats name their rate, which nothing else would."""
        if raw := _RAW_CONTENT_TYPES.get(self.format):
            return f"{raw}; rate={self.sample_rate}; channels=1"
        return _CONTENT_TYPES[self.format]

    def push(self, samples: Floats) -> bytes:
        """The bytes that are ready after samples [n]; perhaps none."""
        return self._write(self._resampler.push(samples))

    def finish(self) -> bytes:
        """The remaining bytes. The encoder is then spent."""
        return self._write(self._resampler.flush()) + self._writer.finish()

    def _write(self, samples: Floats) -> bytes:
        return self._writer.push(samples) if len(samples) else b""


def _known(file_format: str) -> FileFormat:
    try:
        return FileFormat(file_format)
    except ValueError:
        known = ", ".join(FileFormat)
        raise ValueError(f'format "{file_format}" is none of {known}') from None


def _new_writer(file_format: FileFormat, rate: int) -> _Writer:
    match file_format:
        case FileFormat.WAV:
            return _RawWriter(AudioFormat(Encoding.PCM_S16LE, rate), wav_header(rate, None))
        case FileFormat.PCM:
            return _RawWriter(AudioFormat(Encoding.PCM_S16LE, rate))
        case FileFormat.MULAW | FileFormat.ALAW:
            return _RawWriter(AudioFormat(Encoding(file_format.value), rate))
        case FileFormat.MP3:
            return Mp3Frames(rate)
        case FileFormat.FLAC:
            return _flac_writer(rate)
        case FileFormat.OGG | FileFormat.OPUS:
            return _opus_writer(rate)


class _RawWriter:
    """Samples one by one, after an optional header."""

    def __init__(self, audio_format: AudioFormat, header: bytes = b"") -> None:
        self._format = audio_format
        self._header = header

    def push(self, samples: Floats) -> bytes:
        header, self._header = self._header, b""
        return header + self._format.encode(samples)

    def finish(self) -> bytes:
        header, self._header = self._header, b""
        return header


class _Outlet:
    """A file that can only be written, which tells muxers not to come back to the header."""

    def __init__(self) -> None:
        self._written = bytearray()

    def write(self, data: bytes) -> int:
        self._written += data
        return len(data)

    def drain(self) -> bytes:
        written, self._written = bytes(self._written), bytearray()
        return written


class _ContainerWriter:
    """A codec in a container, through FFmpeg."""

    def __init__(
        self,
        container: str,
        codec: str,
        rate: int,
        *,
        bit_rate: int | None = None,
        codec_options: dict[str, str],
        container_options: dict[str, str],
    ) -> None:
        self._outlet = _Outlet()
        self._container = av.open(
            self._outlet,
            "w",
            format=container,
            container_options={"flush_packets": "1", **container_options},
        )
        stream = self._container.add_stream(codec, rate=rate, options=codec_options)
        if not isinstance(stream, AudioStream):
            raise TypeError(f"{codec} is no audio codec")
        stream.layout = "mono"
        if bit_rate is not None:
            stream.bit_rate = bit_rate
        self._stream = stream
        self._rate = rate
        self._position = 0

    def push(self, samples: Floats) -> bytes:
        frame = self._frame(samples)
        frame.sample_rate = self._rate
        frame.pts = self._position
        self._position += len(samples)
        self._container.mux(self._stream.encode(frame))
        return self._outlet.drain()

    def finish(self) -> bytes:
        self._container.start_encoding()  # a file without samples has a header, too
        self._container.mux(self._stream.encode(None))
        self._container.close()
        return self._outlet.drain()

    def _frame(self, samples: Floats) -> av.AudioFrame:
        if self._stream.format.name == "s16":  # our rounding rather than FFmpeg's
            return av.AudioFrame.from_ndarray(to_int16(samples)[np.newaxis], "s16", "mono")
        return av.AudioFrame.from_ndarray(sanitised(samples)[np.newaxis], "flt", "mono")


def _flac_writer(rate: int) -> _ContainerWriter:
    # FFmpeg's blocks of 4608 samples would be 576 ms at 8 kHz; its padding is for tag editors.
    return _ContainerWriter(
        "flac",
        "flac",
        rate,
        codec_options={"frame_size": str(rate // 25)},
        container_options={"metadata_header_padding": "0"},
    )


def _opus_writer(rate: int) -> _ContainerWriter:
    # A page for each packet costs 11 kbit/s; the usual page of 1 s would cost 1 s.
    return _ContainerWriter(
        "ogg",
        "libopus",
        rate,
        bit_rate=24_000 if rate <= 12_000 else 40_000,
        codec_options={"application": "voip"},
        container_options={"page_duration": "20000"},
    )
