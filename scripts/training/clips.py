"""One recording → one clip for training: mono, trimmed to the speech, of one loudness."""

import io
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import av
import numpy as np
import soxr
from av.audio.stream import AudioStream

from services.shared.audio.pcm import Floats, to_int16
from services.shared.media.decode import AudioTooLong, UnreadableAudio, decode_audio
from services.shared.media.wav import wav_bytes
from services.shared.models.store import ModelStore
from services.shared.vad.base import FRAME_SAMPLES, SAMPLE_RATE, VadModel

_LOUDNESS_WINDOW_S = 0.4
"""BS.1770 measures blocks of this length; anything shorter has no loudness."""
_PEAK_DBFS = -1.0
_SPEECH = 0.5
"""Voice probability from which a frame counts as speech."""


class Unusable(Exception):
    """Nothing to train with can be made of a recording; `reason` is one word for the statistics."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(detail or reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class ClipSettings:
    """How clips are made. Clips made with different settings must not be mixed."""

    sample_rate: int = 22_050
    """Hz."""
    loudness: float = -23.0
    """Integrated, LUFS (ITU-R BS.1770)."""
    margin_ms: int = 120
    """Of what is around the speech, kept on either side."""
    max_source_s: float = 120.0
    """Longer recordings are not decoded."""
    file_format: Literal["flac", "wav"] = "flac"
    vad: Literal["silero", "energy"] = "silero"


@dataclass(frozen=True, slots=True)
class Clip:
    """What training hears."""

    samples: Floats = field(repr=False)
    """[n], mono, at the rate of the settings."""
    source_s: float
    start_s: float
    """Where in the recording the clip begins."""
    loudness: float
    """Of the recording's speech before the change, LUFS."""


def make_clip(audio: bytes, settings: ClipSettings, vad: VadModel) -> Clip:
    """Decode, trim and level one recording.

    Raises:
        Unusable: unreadable, too_long, no_speech, too_short or silent.
    """
    samples = _decoded(audio, settings)
    start, end = speech_span(samples, settings, vad)
    levelled, loudness = level(samples[start:end], settings)
    rate = settings.sample_rate
    return Clip(levelled, len(samples) / rate, start / rate, loudness)


def speech_span(samples: Floats, settings: ClipSettings, vad: VadModel) -> tuple[int, int]:
    """First and last sample of the speech, margins included.

    Raises:
        Unusable: nobody speaks.
    """
    heard = soxr.resample(samples, settings.sample_rate, SAMPLE_RATE)
    count = -(-len(heard) // FRAME_SAMPLES)
    frames = np.zeros((count, FRAME_SAMPLES), dtype=np.float32)
    frames.reshape(-1)[: len(heard)] = heard
    states = [vad.new_state()]
    voiced = []
    for number, frame in enumerate(frames):
        probabilities, states = vad.probabilities(frame[np.newaxis], states)
        if probabilities[0] >= _SPEECH:
            voiced.append(number)
    if not voiced:
        raise Unusable("no_speech")
    margin = settings.margin_ms * settings.sample_rate // 1000
    scale = FRAME_SAMPLES * settings.sample_rate / SAMPLE_RATE
    start = int(voiced[0] * scale) - margin
    end = int((voiced[-1] + 1) * scale) + margin
    return max(0, start), min(len(samples), end)


def level(samples: Floats, settings: ClipSettings) -> tuple[Floats, float]:
    """Bring samples to the loudness of the settings, without clipping.

    Returns:
        The samples, and their loudness before.

    Raises:
        Unusable: too short to have a loudness, or silent.
    """
    if len(samples) < _LOUDNESS_WINDOW_S * settings.sample_rate:
        raise Unusable("too_short", f"less than {_LOUDNESS_WINDOW_S} s of speech")
    import pyloudnorm

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a logarithm of zero, for silence
        before = float(
            pyloudnorm.Meter(settings.sample_rate).integrated_loudness(samples.astype(np.float64))
        )
    if not np.isfinite(before):
        raise Unusable("silent")
    gain = 10 ** ((settings.loudness - before) / 20)
    peak = float(np.abs(samples).max())
    gain = min(gain, 10 ** (_PEAK_DBFS / 20) / peak)
    return (samples * np.float32(gain)).astype(np.float32), before


def open_vad(name: str) -> VadModel:
    """The detector by its name, loaded.

    Raises:
        ModelError: the model is not here; the sentence says how to get it.
    """
    if name == "energy":
        from services.shared.vad.energy import EnergyVad

        return EnergyVad()
    from services.shared.vad.silero import SileroVad

    model = SileroVad(ModelStore().require("silero-vad") / "silero_vad.onnx")
    model.load()
    return model


def write_clip(path: Path, samples: Floats, settings: ClipSettings) -> None:
    """Write a complete file or none: it gets its name when all of it is there."""
    data = (_flac if settings.file_format == "flac" else wav_bytes)(samples, settings.sample_rate)
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    part.replace(path)


def _decoded(audio: bytes, settings: ClipSettings) -> Floats:
    if not audio:
        raise Unusable("unreadable", "the row has no audio bytes")
    try:
        samples = decode_audio(
            audio, sample_rate=settings.sample_rate, max_duration_s=settings.max_source_s
        )
    except UnreadableAudio as broken:
        raise Unusable("unreadable", str(broken)) from None
    except AudioTooLong as long:
        raise Unusable("too_long", str(long)) from None
    if not len(samples):
        raise Unusable("unreadable", "the file has no samples")
    return samples


def _flac(samples: Floats, rate: int) -> bytes:
    """A FLAC file, 16 bits, whose header tells its length (that of a stream could not)."""
    file = io.BytesIO()
    with av.open(file, "w", format="flac") as container:
        stream = container.add_stream("flac", rate=rate)
        if not isinstance(stream, AudioStream):
            raise TypeError("flac is no audio codec")
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(to_int16(samples)[np.newaxis], "s16", "mono")
        frame.sample_rate = rate
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()
