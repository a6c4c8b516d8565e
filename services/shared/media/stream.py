"""Live compressed audio from a client → 16 kHz mono samples, in a worker thread."""

import queue
import threading
from typing import Any

import av
import av.error
import av.logging
import numpy as np

from services.shared.audio.input import MODEL_RATE
from services.shared.audio.pcm import Floats
from services.shared.media.decode import UnreadableAudio

_STEP_S = 10.0
"""Longest wait for the demuxer to take or give; it is local work, so longer means it is stuck."""
_MAX_PACKET = 1 << 16


class OpusPackets:
    """Each push is one raw Opus packet (RFC 6716)."""

    def __init__(self, sample_rate: int, channels: int) -> None:
        self._codec: Any = av.CodecContext.create("libopus", "r")
        self._codec.sample_rate = sample_rate
        self._codec.layout = "stereo" if channels == 2 else "mono"
        self._resampler = _new_resampler()

    def push(self, data: bytes) -> Floats:
        """Samples of the packet. Raises UnreadableAudio."""
        if not 0 < len(data) <= _MAX_PACKET:
            raise UnreadableAudio(f"a message of {len(data)} bytes is no Opus packet")
        try:
            frames = self._codec.decode(av.Packet(data))
            return _samples(self._resampler, frames)
        except av.error.FFmpegError as error:
            raise UnreadableAudio(f"a message is no Opus packet ({error.strerror})") from None

    def flush(self) -> tuple[Floats, int]:
        """The tail; no byte is ever left over."""
        tail = _samples(self._resampler, [None])
        self._resampler = _new_resampler()
        return tail, 0

    def close(self) -> None:
        """Nothing to free."""


class WebmStream:
    """Bytes of one live WebM file, as a browser's MediaRecorder makes it, in any chunking.

    FFmpeg's demuxer pulls its input. It runs in a thread that waits in `read` for the next push; a
    push returns when all its bytes were asked for, so that the thread never runs ahead or behind.
    """

    def __init__(self) -> None:
        self._pipe = _Pipe()
        self._decoded: queue.SimpleQueue[Floats] = queue.SimpleQueue()
        self._error: UnreadableAudio | None = None
        self._thread: threading.Thread | None = None

    def push(self, data: bytes) -> Floats:
        """Samples decoded so far. Raises UnreadableAudio."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._demux, name="webm-demuxer", daemon=True)
            self._thread.start()
        self._pipe.feed(data)
        return self._collect()

    def flush(self) -> tuple[Floats, int]:
        """The tail: a live stream has none, for each block is decoded as it is complete."""
        return (self._collect() if self._thread else np.zeros(0, dtype=np.float32)), 0

    def close(self) -> None:
        """End the thread."""
        self._pipe.end()
        if self._thread is not None:
            self._thread.join(_STEP_S)

    def _collect(self) -> Floats:
        if self._error is not None:
            raise self._error
        parts = [np.zeros(0, dtype=np.float32)]
        while not self._decoded.empty():
            parts.append(self._decoded.get_nowait())
        return np.concatenate(parts)

    def _demux(self) -> None:
        av.logging.set_level(None)
        options = {"probesize": "32", "analyzeduration": "0", "fflags": "nobuffer"}
        try:
            with av.open(
                self._pipe, mode="r", format="matroska", buffer_size=1024, container_options=options
            ) as container:
                if not container.streams.audio:
                    raise UnreadableAudio("the WebM stream has no audio")
                resampler = _new_resampler()
                for frame in container.decode(container.streams.audio[0]):
                    self._decoded.put(_samples(resampler, [frame]))
        except av.error.FFmpegError as error:
            self._error = UnreadableAudio(f"this is no WebM stream ({error.strerror})")
        except UnreadableAudio as error:
            self._error = error
        finally:
            self._pipe.end()


class _Pipe:
    """A file that is written by one thread and read by another, in lock step."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._ended = False
        self._changed = threading.Condition()

    def feed(self, data: bytes) -> None:
        """Give bytes and wait until the reader has asked for more than there is."""
        with self._changed:
            self._data += data
            self._starving = False
            self._changed.notify_all()
            if not self._changed.wait_for(lambda: self._starving or self._ended, _STEP_S):
                raise UnreadableAudio("the WebM decoder does not answer")

    def end(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    # What PyAV asks of a file.

    _starving = False

    def read(self, size: int) -> bytes:
        with self._changed:
            while not self._data and not self._ended:
                self._starving = True
                self._changed.notify_all()
                self._changed.wait()
            taken = bytes(self._data[:size])
            del self._data[:size]
            return taken


def _new_resampler() -> "av.AudioResampler":
    return av.AudioResampler(format="fltp", layout="mono", rate=MODEL_RATE)


def _samples(resampler: "av.AudioResampler", frames: list[Any]) -> Floats:
    parts = [np.zeros(0, dtype=np.float32)]
    for frame in frames:
        parts += [part.to_ndarray()[0] for part in resampler.resample(frame)]
    return np.concatenate(parts)
