"""Any common audio file → mono samples, through FFmpeg's libraries (PyAV).

An upload is hostile until decoded: only containers that cannot name other files or URLs are read,
only audio codecs are opened, decoding stops at the permitted duration, memory holds no more than
that, and sizes in headers are not believed.
"""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NoReturn

import av
import av.error
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer

from services.shared.audio.pcm import Floats, sanitised
from services.shared.audio.resample import StreamResampler
from services.shared.media.allocation import bound_allocations

KNOWN = "wav, flac, mp3, ogg, webm, mp4, m4a, aac, aiff, amr, au, caf"

# FFmpeg guesses the container, also that of a playlist (hls, concat, dash …), which would make the
# server open what the client names; it then refuses those that are not listed here. The names must
# be FFmpeg's own, aliases of one demuxer and all.
_CONTAINERS = "wav,w64,flac,mp3,ogg,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,aac,aiff,amr,au,caf"
_CODECS = (
    "pcm_s8,pcm_u8,pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,pcm_s32be,pcm_f32le,"
    "pcm_f32be,pcm_f64le,pcm_f64be,pcm_mulaw,pcm_alaw,adpcm_ms,adpcm_ima_wav,adpcm_ima_qt,"
    "gsm_ms,flac,alac,mp3float,mp3,mp2float,mp2,mp1float,mp1,aac,opus,libopus,vorbis,"
    "amrnb,amrwb"
)
_OPTIONS = {
    "format_whitelist": _CONTAINERS,
    "codec_whitelist": _CODECS,
    "protocol_whitelist": "none",
}
_MIN_RATE, _MAX_RATE = 4000, 384_000
"""Hz; a header with less or more is damaged, and 1 Hz would blow one sample up to a second."""
_MAX_BAD_PACKETS = 1000


class UnreadableAudio(Exception):
    """The data is no audio that can be decoded; the sentence says why."""


class AudioTooLong(Exception):
    """The audio is longer than permitted."""

    def __init__(self, limit_s: float) -> None:
        super().__init__(f"the audio is longer than the permitted {limit_s:g} s")
        self.limit_s = limit_s


def decode_audio(
    source: bytes | Path | IO[bytes], *, sample_rate: int = 16_000, max_duration_s: float
) -> Floats:
    """Decode a whole file; blocking, for a worker thread.

    Channels are mixed down. A file that is cut off or damaged gives what can be decoded of it.

    Args:
        source: the file's content, its path, or a seekable binary file (left open).
        sample_rate: of the result, Hz.
        max_duration_s: decoding stops as soon as there is more.

    Returns:
        Mono samples [n] in [-1, 1] at `sample_rate`.

    Raises:
        UnreadableAudio, AudioTooLong
        OSError: the path cannot be opened.
    """
    bound_allocations()
    if isinstance(source, Path):
        with source.open("rb") as opened:
            return _decode_file(opened, sample_rate, max_duration_s)
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    return _decode_file(file, sample_rate, max_duration_s)


def _decode_file(file: IO[bytes], sample_rate: int, max_duration_s: float) -> Floats:
    if not file.read(1):
        raise UnreadableAudio("the file is empty")
    file.seek(0)
    limit = int(max_duration_s * sample_rate)
    pcm = bytearray()  # grows in place, where a list of parts would need the space twice
    for block in _resampled(_blocks(file), sample_rate):
        pcm += block.tobytes()
        if len(pcm) > limit * block.itemsize:
            raise AudioTooLong(max_duration_s)
    if not pcm:
        raise UnreadableAudio("the file holds no audio that can be decoded")
    samples = np.frombuffer(pcm, dtype=np.float32)
    return np.clip(samples, -1.0, 1.0, out=samples)


def _resampled(blocks: Iterator[tuple[Floats, int]], sample_rate: int) -> Iterator[Floats]:
    resampler: StreamResampler | None = None
    for block, rate in blocks:
        if resampler is None or resampler.rate_in != rate:  # a stream may change it midway
            if resampler is not None:
                yield resampler.flush()
            resampler = StreamResampler(rate, sample_rate, low_latency=False)
        yield resampler.push(block)
    if resampler is not None:
        yield resampler.flush()


def _blocks(file: IO[bytes]) -> Iterator[tuple[Floats, int]]:
    """Decoded mono samples with their rate."""
    try:
        with av.open(
            file, "r", container_options=_OPTIONS, metadata_errors="ignore", io_open=_refuse
        ) as container:
            if not container.streams.audio:
                raise UnreadableAudio("the file has no audio stream")
            if container.streams.audio[0].codec_context is None:
                raise UnreadableAudio("the file's audio is in no known codec, or it is damaged")
            yield from _decoded(container, container.streams.audio[0])
    except (av.error.FFmpegError, UnicodeError):
        raise UnreadableAudio(
            f"the file is damaged, or in none of the known audio formats ({KNOWN})"
        ) from None


def _decoded(container: InputContainer, stream: AudioStream) -> Iterator[tuple[Floats, int]]:
    converter: av.AudioResampler | None = None
    setup: tuple[str, str, int] | None = None
    for frame in _frames(container, stream):
        if not _MIN_RATE <= frame.sample_rate <= _MAX_RATE:
            raise UnreadableAudio(f"a sample rate of {frame.sample_rate} Hz cannot be right")
        if converter is None or setup != (frame.format.name, frame.layout.name, frame.sample_rate):
            setup = frame.format.name, frame.layout.name, frame.sample_rate
            # Interleaved: with a plane for each of eight or more channels PyAV 18.1 reads planes
            # that are not there, which ends the process.
            converter = av.AudioResampler(format="flt")
        frame.pts = None  # time stamps with gaps are no reason to invent or drop samples
        for packed in converter.resample(frame):
            samples = np.asarray(packed.to_ndarray(), dtype=np.float32)
            yield _mixed_down(samples.reshape(-1, packed.layout.nb_channels)), packed.sample_rate


def _mixed_down(frames: Floats) -> Floats:
    """[n, channels] → [n]: the mean, where FFmpeg's own mix of stereo is louder and may clip."""
    if frames.shape[1] == 1:
        return sanitised(frames[:, 0])
    return sanitised(np.asarray(frames.mean(axis=1, dtype=np.float32), dtype=np.float32))


def _frames(container: InputContainer, stream: AudioStream) -> Iterator[av.AudioFrame]:
    """Frames of one stream; single damaged packets are passed over, a cut-off end ends it."""
    heard, bad = False, 0
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.error.FFmpegError:
            if not heard:
                raise
            return
        if packet is None:
            return
        try:
            for frame in stream.codec_context.decode(packet):
                heard = True
                yield frame
        except av.error.EOFError:
            return
        except av.error.FFmpegError:
            bad += 1
            if bad > _MAX_BAD_PACKETS:
                return


def _refuse(*_: object) -> NoReturn:
    raise PermissionError("an audio file must not make us open another one")
