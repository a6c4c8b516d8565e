"""WAV → FLAC, through FFmpeg's libraries: the same samples in half the bytes. Blocks."""

import wave
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream

_BLOCK = 8192


def wav_to_flac(source: Path, target: Path) -> None:
    """16 bits, mono or stereo. `target` is there when it is complete, or not at all.

    Raises:
        OSError: a file cannot be read or written.
    """
    unfinished = target.with_suffix(".part")
    try:
        with wave.open(str(source), "rb") as wav:
            _encode(wav, unfinished)
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


def _encode(wav: wave.Wave_read, target: Path) -> None:
    layout = "stereo" if wav.getnchannels() == 2 else "mono"
    with av.open(str(target), "w", format="flac") as container:
        stream = container.add_stream("flac", rate=wav.getframerate())
        if not isinstance(stream, AudioStream):
            raise TypeError("flac is no audio codec")
        stream.layout = layout
        stream.format = "s16"
        position = 0
        while data := wav.readframes(_BLOCK):
            samples = np.frombuffer(data, dtype="<i2").reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout=layout)
            frame.sample_rate = wav.getframerate()
            frame.pts = position
            position += frame.samples
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
