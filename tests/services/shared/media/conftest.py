"""Files and packets to decode, made by FFmpeg's encoders through PyAV."""

import io
from collections.abc import Callable

import av
import numpy as np
import pytest
from av.audio.stream import AudioStream

from services.shared.audio.pcm import Floats

MakeFile = Callable[..., bytes]


def _tone(rate: int, seconds: float, hertz: float = 440) -> Floats:
    times = np.arange(round(rate * seconds)) / rate
    return (0.3 * np.sin(2 * np.pi * hertz * times)).astype(np.float32)


_BLOCK = 1 << 20


def _mux(
    container: str,
    codec: str,
    *,
    rate: int = 24_000,
    seconds: float = 1.0,
    channels: int = 1,
    options: dict[str, str] | None = None,
) -> bytes:
    file = io.BytesIO()
    layout = "stereo" if channels == 2 else "mono"
    with av.open(file, "w", format=container, options=options or {}) as output:
        stream = output.add_stream(codec, rate=rate, options={"strict": "experimental"})
        assert isinstance(stream, AudioStream)
        stream.layout = layout
        samples = np.stack([_tone(rate, seconds)] * channels)
        for begin in range(0, samples.shape[1], _BLOCK):
            block = np.ascontiguousarray(samples[:, begin : begin + _BLOCK])
            frame = av.AudioFrame.from_ndarray(block, "fltp", layout)
            frame.sample_rate, frame.pts = rate, begin
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return file.getvalue()


@pytest.fixture
def make_file() -> MakeFile:
    """`make_file(container, codec, rate=, seconds=, channels=, options=)`: a 440 Hz tone."""
    return _mux


@pytest.fixture
def opus_packets() -> list[bytes]:
    """One second of a 440 Hz tone as raw packets of 20 ms."""
    encoder = av.CodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format = 48_000, "mono", "flt"
    frame = av.AudioFrame.from_ndarray(_tone(48_000, 1.0)[np.newaxis], "flt", "mono")
    frame.sample_rate, frame.pts = 48_000, 0
    return [bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)]]
