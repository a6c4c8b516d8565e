"""Any common audio file → 16 kHz mono samples, through FFmpeg's libraries (PyAV).

An upload is hostile until decoded: only containers that cannot name other files or URLs are read,
decoding stops at the permitted duration, and memory holds no more than that.
"""

import io
from collections.abc import Iterator
from typing import IO

import av
import av.error
import av.logging
import numpy as np

from services.shared.audio.pcm import Floats

# Playlists (hls, concat, dash …) would make the server open what the client names.
_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"RIFF", "wav"),
    (0, b"RF64", "wav"),
    (0, b"fLaC", "flac"),
    (0, b"OggS", "ogg"),
    (0, b"\x1a\x45\xdf\xa3", "matroska"),
    (4, b"ftyp", "mov"),
    (0, b"FORM", "aiff"),
    (0, b"#!AMR", "amr"),
    (0, b".snd", "au"),
    (0, b"caff", "caf"),
    (0, b"riff", "w64"),
    (0, b"ID3", "mp3"),
)
KNOWN = "wav, flac, mp3, ogg, webm, m4a, aac, aiff, amr, au, caf"


class UnreadableAudio(Exception):
    """The data is no audio that can be decoded; the sentence says why."""


class AudioTooLong(Exception):
    """The audio is longer than permitted."""

    def __init__(self, limit_s: float) -> None:
        super().__init__(f"the audio is longer than the permitted {limit_s:g} s")
        self.limit_s = limit_s


def decode_audio(
    source: bytes | IO[bytes], *, sample_rate: int = 16_000, max_duration_s: float
) -> Floats:
    """Decode a whole file; blocking, for a worker thread.

    A file that is cut off gives what can be decoded of it.

    Returns:
        Mono samples [n] at `sample_rate`.

    Raises:
        UnreadableAudio, AudioTooLong
    """
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    limit = int(max_duration_s * sample_rate)
    parts, total = [], 0
    for part in _blocks(file, sample_rate):
        total += len(part)
        if total > limit:
            raise AudioTooLong(max_duration_s)
        parts.append(part)
    if total == 0:
        raise UnreadableAudio("the file holds no audio")
    return np.concatenate(parts)


def _blocks(file: IO[bytes], sample_rate: int) -> Iterator[Floats]:
    format_name = _sniff(file)
    av.logging.set_level(None)  # FFmpeg's own words about broken files are not for our log
    try:
        with av.open(file, mode="r", format=format_name, metadata_errors="ignore") as container:
            yield from _decoded(container, sample_rate)
    except av.error.FFmpegError as error:
        raise UnreadableAudio(
            f"the file cannot be decoded as {format_name} ({error.strerror})"
        ) from None


def _decoded(container: "av.container.InputContainer", sample_rate: int) -> Iterator[Floats]:
    if not container.streams.audio:
        raise UnreadableAudio("the file has no audio stream")
    resampler = av.AudioResampler(format="fltp", layout="mono", rate=sample_rate)
    heard = False
    try:
        for frame in container.decode(container.streams.audio[0]):
            for converted in resampler.resample(frame):
                heard = True
                yield converted.to_ndarray()[0]
    except av.error.FFmpegError:
        if not heard:
            raise
        # Cut off or damaged further on: what was decoded is worth having.
    for converted in resampler.resample(None):
        yield converted.to_ndarray()[0]


def _sniff(file: IO[bytes]) -> str:
    """The container by its first bytes; FFmpeg's guessing would also take playlists."""
    head = file.read(4096)
    file.seek(0)
    if not head:
        raise UnreadableAudio("the file is empty")
    for offset, magic, name in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return name
    if len(head) > 3 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        # An MPEG frame header: layer 0 is AAC in ADTS, layers 1 to 3 are MP1 to MP3.
        return "aac" if head[1] & 0x06 == 0 else "mp3"
    raise UnreadableAudio(f"the file is in no known audio format ({KNOWN})")
