"""Samples → a stream of bytes in the format that a client asked for, as early as they are ready."""

import struct
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Protocol

import av
import numpy as np

from services.shared.audio.pcm import AudioFormat, Encoding, Floats
from services.shared.audio.resample import StreamResampler
from services.shared.media.mp3_info import DELAY_SAMPLES, info_frame


class Format(StrEnum):
    """What `format` may be in a request for speech."""

    WAV = "wav"
    FLAC = "flac"
    MP3 = "mp3"
    OGG = "ogg"
    """Opus in Ogg."""
    OPUS = "opus"
    """The same under its other name."""
    PCM = "pcm"
    """16-bit little-endian samples without a header."""
    MULAW = "mulaw"
    ALAW = "alaw"


_CONTENT_TYPES = {
    Format.WAV: "audio/wav",
    Format.FLAC: "audio/flac",
    Format.MP3: "audio/mpeg",
    Format.OGG: "audio/ogg",
    Format.OPUS: "audio/ogg",
}
_RAW_TYPES = {Format.PCM: "pcm", Format.MULAW: "PCMU", Format.ALAW: "PCMA"}
_OPUS_RATES = (8000, 12_000, 16_000, 24_000, 48_000)
# Layer III also knows lower rates and 32 kHz, but their frames are so long (36 to 72 ms) that the
# file would end too late; an MP3 can only be as long as whole frames.
_MP3_RATES = (22_050, 24_000, 44_100, 48_000)
_MP3_MAX_EXTRA_S = 0.02
_UNKNOWN_LENGTH = 0xFFFFFFFF
_MP3_BITS_PER_S = 64_000
_OPUS_BITS_PER_S = 48_000


class _Writer(Protocol):
    def push(self, samples: Floats) -> bytes: ...

    def finish(self) -> bytes: ...


class StreamEncoder:
    """One stream: samples [n] at `source_rate` in, bytes out; the header comes once.

    `sample_rate` is what the file says. Opus and MP3 know only some rates; the next higher one that
    they know is used (`sample_rate` of this object tells which).
    """

    def __init__(self, audio_format: Format, sample_rate: int, *, source_rate: int) -> None:
        self.format = audio_format
        self.sample_rate = _possible_rate(audio_format, sample_rate)
        self._resampler = StreamResampler(source_rate, self.sample_rate)
        self._writer = _new_writer(audio_format, self.sample_rate)

    @property
    def content_type(self) -> str:
        if self.format in _CONTENT_TYPES:
            return _CONTENT_TYPES[self.format]
        return f"audio/{_RAW_TYPES[self.format]};rate={self.sample_rate};channels=1"

    def push(self, samples: Floats) -> bytes:
        return self._writer.push(self._resampler.push(samples))

    def finish(self) -> bytes:
        """The rest; the encoder is done."""
        return self._writer.push(self._resampler.flush()) + self._writer.finish()


def wav_bytes(samples: Floats, sample_rate: int) -> bytes:
    """A complete 16-bit mono WAV file."""
    data = AudioFormat(Encoding.PCM_S16LE, sample_rate).encode(samples)
    return _wav_header(sample_rate, len(data)) + data


def _possible_rate(audio_format: Format, rate: int) -> int:
    known: tuple[int, ...] = ()
    if audio_format in (Format.OGG, Format.OPUS):
        known = _OPUS_RATES
    elif audio_format is Format.MP3:
        known = _MP3_RATES
    return next((each for each in known if each >= rate), rate)


def _new_writer(audio_format: Format, rate: int) -> _Writer:
    raw = {Format.MULAW: Encoding.MULAW, Format.ALAW: Encoding.ALAW}
    match audio_format:
        case Format.PCM | Format.MULAW | Format.ALAW:
            return _RawWriter(AudioFormat(raw.get(audio_format, Encoding.PCM_S16LE), rate), b"")
        case Format.WAV:
            header = _wav_header(rate, _UNKNOWN_LENGTH)
            return _RawWriter(AudioFormat(Encoding.PCM_S16LE, rate), header)
        case Format.FLAC:
            # Small blocks: the default of 4608 samples would hold back half a second at 8 kHz.
            return _ContainerWriter("flac", "flac", rate, {"frame_size": str(rate // 25)}, "s16")
        case Format.MP3:
            return _Mp3Writer(rate)
        case Format.OGG | Format.OPUS:
            return _ContainerWriter("ogg", "libopus", rate, {"application": "voip"}, "flt")


class _RawWriter:
    def __init__(self, audio_format: AudioFormat, header: bytes) -> None:
        self._format = audio_format
        self._header = header

    def push(self, samples: Floats) -> bytes:
        if not len(samples):
            return b""
        header, self._header = self._header, b""
        return header + self._format.encode(samples)

    def finish(self) -> bytes:
        """An empty stream is still a file."""
        header, self._header = self._header, b""
        return header


class _Sink:
    """A file that only collects what is written, for FFmpeg's muxers."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        taken, self._parts = b"".join(self._parts), []
        return taken


class _ContainerWriter:
    """An FFmpeg muxer that writes every packet at once."""

    def __init__(
        self, container: str, codec: str, rate: int, options: dict[str, str], sample_format: str
    ) -> None:
        self._sink = _Sink()
        flags = {"flush_packets": "1"}
        if container == "ogg":
            flags["page_duration"] = "20000"  # µs; the default of 1 s would arrive in lumps
        self._container: Any = av.open(self._sink, "w", format=container, options=flags)
        stream: Any = self._container.add_stream(codec, rate=rate, options=options)
        self._stream = stream
        stream.layout = "mono"
        stream.format = sample_format
        if codec == "libopus":
            stream.bit_rate = _OPUS_BITS_PER_S
        self._frame = _frame_maker(rate, sample_format)

    def push(self, samples: Floats) -> bytes:
        if len(samples):
            for packet in self._stream.encode(self._frame(samples)):
                self._container.mux(packet)
        return self._sink.take()

    def finish(self) -> bytes:
        for packet in self._stream.encode(None):
            self._container.mux(packet)
        self._container.close()
        return self._sink.take()


class _Mp3Writer:
    """Bare MPEG frames behind an info frame, which lets players drop the encoder's delay."""

    def __init__(self, rate: int) -> None:
        self._codec: Any = av.CodecContext.create("libmp3lame", "w")
        self._codec.sample_rate = rate
        self._codec.layout = "mono"
        self._codec.format = "fltp"
        self._codec.bit_rate = _MP3_BITS_PER_S
        self._rate = rate
        self._frame = _frame_maker(rate, "fltp")
        self._header = info_frame(rate, _MP3_BITS_PER_S)
        self._samples = 0
        self._packets = 0

    def push(self, samples: Floats) -> bytes:
        if not len(samples):
            return b""
        self._samples += len(samples)
        return self._with_header(self._codec.encode(self._frame(samples)))

    def finish(self) -> bytes:
        packets = self._codec.encode(None)
        held = (self._packets + len(packets)) * self._codec.frame_size - DELAY_SAMPLES
        if packets and held - self._samples > _MP3_MAX_EXTRA_S * self._rate:
            del packets[-1]  # nearly all padding
        return self._with_header(packets)

    def _with_header(self, packets: list[Any]) -> bytes:
        self._packets += len(packets)
        if not packets:
            return b""
        header, self._header = self._header, b""
        return header + b"".join(bytes(packet) for packet in packets)


def _frame_maker(rate: int, sample_format: str) -> Callable[[Floats], Any]:
    """Turns samples into FFmpeg frames with running timestamps."""
    position = 0

    def make(samples: Floats) -> Any:
        nonlocal position
        data: Any = np.clip(samples, -1.0, 1.0)[None]
        if sample_format == "s16":
            data = np.clip(np.rint(data * 32768), -32768, 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(data), format=sample_format, layout="mono"
        )
        frame.sample_rate = rate
        frame.pts = position
        position += len(samples)
        return frame

    return make


def _wav_header(rate: int, data_bytes: int) -> bytes:
    """RIFF header of 16-bit mono PCM; a stream of unknown length says 0xFFFFFFFF."""
    riff = _UNKNOWN_LENGTH if data_bytes == _UNKNOWN_LENGTH else data_bytes + 36
    header = struct.pack(
        "<4sI4s4sIHHIIHH", b"RIFF", riff, b"WAVE", b"fmt ", 16, 1, 1, rate, rate * 2, 2, 16
    )
    return header + struct.pack("<4sI", b"data", data_bytes)
