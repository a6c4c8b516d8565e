"""Audio to send: tones that the fake engine reads, recordings, and their encodings."""

import io
import json
import re
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream

from services.shared.audio.pcm import AudioFormat, Encoding, Floats
from services.shared.audio.resample import StreamResampler
from services.shared.media.decode import decode_audio

RATE = 16_000
SPEECH = Path(__file__).parents[2] / "data" / "speech"


def tone(hertz: float, ms: int, rate: int = RATE) -> Floats:
    """What the fake engine reads as a word every 200 ms: 400 Hz is "w4"."""
    times = np.arange(rate * ms // 1000) / rate
    return (0.3 * np.sin(2 * np.pi * hertz * times)).astype(np.float32)


def silence(ms: int, rate: int = RATE) -> Floats:
    return np.zeros(rate * ms // 1000, dtype=np.float32)


def joined(*parts: Floats) -> Floats:
    return np.concatenate(parts)


def pcm(samples: Floats, encoding: str = "pcm_s16le", rate: int = RATE, channels: int = 1) -> bytes:
    """Samples at 16 kHz in a wire encoding; stereo has them on one side only, at double level."""
    resampler = StreamResampler(RATE, rate)
    resampled = np.concatenate([resampler.push(samples), resampler.flush()])
    if channels == 1:
        return AudioFormat(Encoding(encoding), rate).encode(resampled)
    both = np.stack([np.clip(2 * resampled, -1, 1), np.zeros_like(resampled)], axis=1)
    return AudioFormat(Encoding(encoding), rate).encode(both.reshape(-1))


def recording(name: str) -> Floats:
    return decode_audio(SPEECH / name, max_duration_s=60)


def transcripts() -> dict[str, str]:
    rows = (SPEECH / "transcripts.jsonl").read_text(encoding="utf-8").splitlines()
    return {row["audio"]: row["text"] for row in map(json.loads, rows)}


def words_of(text: str) -> list[str]:
    """Comparable words."""
    text = re.sub(r"[^\w' ]", " ", text.lower())
    return ["1" if word == "one" else word for word in text.split()]


def opus_packets(samples: Floats, frame_ms: int = 20) -> list[bytes]:
    """Raw packets, as in RTP."""
    encoder = av.CodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format = RATE, "mono", "flt"
    encoder.options = {"frame_duration": str(frame_ms)}
    frame = av.AudioFrame.from_ndarray(samples[np.newaxis], "flt", "mono")
    frame.sample_rate, frame.pts = RATE, 0
    return [bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)]]


def encoded(samples: Floats, container: str, codec: str) -> bytes:
    """A file, e.g. ("webm", "libopus"); 48 kHz, which every codec takes."""
    resampler = StreamResampler(RATE, 48_000)
    audio = np.concatenate([resampler.push(samples), resampler.flush()])
    pcm16 = np.round(np.clip(audio, -1, 1) * 32_767).astype(np.int16)[np.newaxis]
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(codec, rate=48_000)
        assert isinstance(stream, AudioStream)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(pcm16, "s16", "mono")
        frame.sample_rate, frame.pts = 48_000, 0
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return file.getvalue()
