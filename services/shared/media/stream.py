"""Live compressed audio from a client → 16 kHz mono samples, in a worker thread.

Both decoders have the interface of :class:`services.shared.audio.input.PcmInput`.
"""

from collections.abc import Sequence

import av
import av.error
import numpy as np

from services.shared.audio.input import MODEL_RATE
from services.shared.audio.pcm import Floats
from services.shared.media.decode import UnreadableAudio
from services.shared.media.webm import WebmPackets

OPUS_RATES = (8000, 12_000, 16_000, 24_000, 48_000)
_DECODED_RATE = 48_000
_MAX_PACKET = 61_440
"""Bytes: 48 frames of 1,275 and their framing (RFC 6716 §3)."""


class OpusPackets:
    """Each push is one raw Opus packet (RFC 6716), as from RTP; stereo is mixed down.

    Late by 1 ms: swresample's filter is short, and good enough above 7.5 kHz.
    """

    def __init__(self, sample_rate: int = 48_000, channels: int = 1) -> None:
        """Both only say what the client announced: each packet carries its own.

        Raises:
            ValueError: Opus has no such rate or number of channels.
        """
        if sample_rate not in OPUS_RATES or channels not in (1, 2):
            raise ValueError(f"Opus is not {sample_rate} Hz with {channels} channels")
        self._codec = av.CodecContext.create("libopus", "r")
        self._codec.layout = "mono"
        self._resampler = _new_resampler()

    def push(self, data: bytes) -> Floats:
        """Samples [n] of the packet, 2.5 to 120 ms.

        Raises:
            UnreadableAudio: `data` is no Opus packet; the next one may be.
        """
        if not 0 < len(data) <= _MAX_PACKET:
            raise UnreadableAudio(f"a message of {len(data)} bytes is no Opus packet")
        try:
            return _samples(self._resampler, self._codec.decode(av.Packet(data)))
        except av.error.FFmpegError:
            raise UnreadableAudio(f"a message of {len(data)} bytes is no Opus packet") from None

    def flush(self) -> tuple[Floats, int]:
        """The tail [n]; no byte is ever left over. The stream may go on."""
        tail = _samples(self._resampler, [None])
        self._resampler = _new_resampler()
        return tail, 0

    def close(self) -> None:
        """Nothing to free."""


class WebmStream:
    """Bytes of one live WebM stream with Opus, in any chunking.

    No thread, no waiting: a push returns the samples of every block that is complete.
    """

    def __init__(self) -> None:
        self._packets = WebmPackets()
        self._opus = OpusPackets()
        self._to_drop: int | None = None

    def push(self, data: bytes) -> Floats:
        """Samples [n] that are ready.

        Raises:
            UnreadableAudio: this is no WebM, or its audio is not Opus.
        """
        parts = [np.zeros(0, dtype=np.float32)]
        parts += [self._opus.push(packet) for packet in self._packets.push(data)]
        return self._trimmed(np.concatenate(parts))

    def flush(self) -> tuple[Floats, int]:
        """The tail [n]. The stream may go on: an unfinished block is kept, so none is left over."""
        tail, _ = self._opus.flush()
        return self._trimmed(tail), 0

    def close(self) -> None:
        """Nothing to free."""

    def _trimmed(self, samples: Floats) -> Floats:
        """Without what the encoder put before the audio."""
        if self._to_drop is None and len(samples):
            self._to_drop = round(self._packets.pre_skip * MODEL_RATE / _DECODED_RATE)
        drop = min(self._to_drop or 0, len(samples))
        if drop:
            self._to_drop = (self._to_drop or 0) - drop
        return samples[drop:]


def _new_resampler() -> av.AudioResampler:
    return av.AudioResampler(format="fltp", layout="mono", rate=MODEL_RATE)


def _samples(resampler: av.AudioResampler, frames: Sequence[av.AudioFrame | None]) -> Floats:
    parts = [np.zeros(0, dtype=np.float32)]
    for frame in frames:
        if frame is not None:
            frame.pts = None
        for part in resampler.resample(frame):
            parts.append(np.asarray(part.to_ndarray()[0], dtype=np.float32))
    return np.concatenate(parts)
