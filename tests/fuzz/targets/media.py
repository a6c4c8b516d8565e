"""Damaged and lying audio: whole files, live streams, and recordings to make voices of."""

import contextlib
import resource
from collections.abc import Iterator
from functools import cache

import numpy as np

from services.shared.media.decode import AudioTooLong, UnreadableAudio, decode_audio
from services.shared.media.stream import OpusPackets, WebmStream
from services.shared.protocol.base import ProtocolError
from services.shared.vad.energy import EnergyVad
from services.tts.cloning.reference import REFERENCE_RATE, ReferenceLimits, take_reference
from tests.fuzz.source import Source
from tests.fuzz.target import Try, check
from tests.fuzz.targets.asr_messages import check_refusal
from tests.services.asr.sounds import encoded, joined, opus_packets, pcm, silence, tone
from tests.services.tts.cloning.recordings import buzz, flac, wav

LONGEST_S = 10.0
"""Of audio that is decoded; what claims to be longer is refused."""
_MOST_BYTES = 256 << 20
"""What decoding may add to the process, libraries' caches and all."""
_EXTREMES = (
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\1\0\0\0",
)
_PLAYLIST = b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"
_KINDS = (
    ("wav", "pcm_s16le"),
    ("wav", "pcm_mulaw"),
    ("wav", "adpcm_ima_wav"),
    ("flac", "flac"),
    ("mp3", "libmp3lame"),
    ("ogg", "libopus"),
    ("webm", "libopus"),
    ("mp4", "aac"),
    ("aiff", "pcm_s16be"),
)


@cache
def files() -> tuple[bytes, ...]:
    """One sound as files of many kinds."""
    sound = joined(tone(400, 300), silence(100))
    return (*(encoded(sound, *kind) for kind in _KINDS), _PLAYLIST)


@cache
def references() -> tuple[bytes, ...]:
    """Recordings that a voice could be made of."""
    return wav(buzz(150.0, 4.0)), flac(buzz(150.0, 4.0))


def damaged(source: Source, data: bytes) -> bytes:
    """The file with some bytes changed, cut out, doubled or replaced by extreme numbers."""
    broken = bytearray(data)
    for _ in range(source.below(12)):
        if not broken:
            break
        # Headers are where the lies are.
        at = source.below(min(len(broken), 200 if source.one_in(2) else 1 << 16))
        match source.below(6):
            case 0:
                broken[at] ^= 1 << source.below(8)
            case 1:
                broken[at] = source.below(256)
            case 2:
                broken[at : at + 4] = source.choice(_EXTREMES)
            case 3:
                del broken[at : at + 1 + source.below(300)]
            case 4:
                broken[at:at] = broken[at : at + source.below(300)]
            case 5:
                del broken[at + source.below(1 << 16) :]
    return bytes(broken)


def _file(source: Source, known: tuple[bytes, ...]) -> bytes:
    data = source.choice(known)
    if source.one_in(8):  # one kind's head, another's body
        other = source.choice(known)
        data = data[: source.below(200)] + other[source.below(200) :]
    return damaged(source, data)


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


@contextlib.contextmanager
def decoding() -> Iterator[Try]:
    """Uploads: samples, or one of two errors that say why not."""
    files()
    before = _peak()

    def attempt(source: Source) -> None:
        with contextlib.suppress(UnreadableAudio, AudioTooLong):
            samples = decode_audio(_file(source, files()), max_duration_s=LONGEST_S)
            check(0 < len(samples) <= LONGEST_S * 16_000, f"{len(samples)} samples")
            check(bool(np.isfinite(samples).all()), "samples that are no numbers")
        check(_peak() - before < _MOST_BYTES, "decoding takes more and more memory")

    yield attempt


def reference(source: Source) -> None:
    """Recordings for voices: judged, whatever they turn out to be."""
    with contextlib.suppress(UnreadableAudio, AudioTooLong):
        samples = decode_audio(
            _file(source, references()), sample_rate=REFERENCE_RATE, max_duration_s=LONGEST_S
        )
        try:
            fit = take_reference(samples, EnergyVad(), ReferenceLimits())
            check(0 < len(fit.samples) <= len(samples), "more speech than recording")
        except ProtocolError as error:
            check_refusal(error)


@cache
def _opus() -> tuple[bytes, ...]:
    return tuple(opus_packets(tone(400, 300)))


@cache
def _webm() -> bytes:
    return encoded(tone(400, 500), "webm", "libopus")


def opus_stream(source: Source) -> None:
    """Packets of a call: a damaged one is refused, and those after it are heard."""
    stream = OpusPackets()
    for _ in range(source.below(20)):
        packet = source.choice(_opus())
        if source.one_in(3):
            packet = damaged(source, packet)
        elif source.one_in(8):
            packet = source.take(40)
        with contextlib.suppress(UnreadableAudio):
            check(len(stream.push(packet)) <= 16_000 // 4, "more than a packet can hold")
    stream.flush()


def webm_stream(source: Source) -> None:
    """A live stream in pieces: what waits for more is bounded."""
    data = damaged(source, _webm()) if source.one_in(2) else _webm()
    if source.one_in(16):
        data = source.take(100) + pcm(tone(400, 100))
    stream, at = WebmStream(), 0
    with contextlib.suppress(UnreadableAudio):
        while at < len(data):
            size = 1 + source.below(2000)
            stream.push(data[at : at + size])
            check(len(stream._packets._buffer) < (1 << 16) + 4096, "the buffer grows")
            at += size
        stream.flush()
