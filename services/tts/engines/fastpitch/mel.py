"""The mel spectrogram that an acoustic model writes and a vocoder reads: both must mean the same.

A vocoder that was trained on other mel filters gives dull or metallic speech and no error at all,
so the settings are compared before anything is spoken.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from services.tts.engines.base import EngineUnavailable

_DEFAULT_WINDOW_S = 0.02
_DEFAULT_STRIDE_S = 0.01
"""Of NeMo's preprocessor when its configuration names neither samples nor seconds."""


class MelSettings(BaseModel):
    """What decides the numbers in a mel spectrogram."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sample_rate: int
    n_fft: int
    hop: int
    """Samples of a frame."""
    window: int
    """Samples."""
    bands: int
    fmin: float
    fmax: float
    """Hz; half the sample rate where the model sets no limit."""

    def seconds(self, frames: int) -> float:
        return frames * self.hop / self.sample_rate


def bigvgan_mel(config: Mapping[str, Any]) -> MelSettings:
    """The settings in BigVGAN's `config.json`. Raises EngineUnavailable."""
    try:
        rate = int(config["sampling_rate"])
        return MelSettings(
            sample_rate=rate,
            n_fft=int(config["n_fft"]),
            hop=int(config["hop_size"]),
            window=int(config["win_size"]),
            bands=int(config["num_mels"]),
            fmin=float(config["fmin"] or 0),
            fmax=float(config["fmax"] or rate / 2),
        )
    except (LookupError, TypeError, ValueError) as error:
        raise EngineUnavailable(f"this is no configuration of BigVGAN: {error!r}") from error


def nemo_mel(preprocessor: Mapping[str, Any]) -> MelSettings:
    """The settings in the `preprocessor` section of a NeMo model. Raises EngineUnavailable."""
    try:
        rate = int(preprocessor["sample_rate"])
        window = preprocessor.get("n_window_size") or int(
            (preprocessor.get("window_size") or _DEFAULT_WINDOW_S) * rate
        )
        hop = preprocessor.get("n_window_stride") or int(
            (preprocessor.get("window_stride") or _DEFAULT_STRIDE_S) * rate
        )
        settings = MelSettings(
            sample_rate=rate,
            n_fft=int(preprocessor.get("n_fft") or 1 << (int(window) - 1).bit_length()),
            hop=int(hop),
            window=int(window),
            bands=int(preprocessor.get("features") or 64),
            fmin=float(preprocessor.get("lowfreq") or 0),
            fmax=float(preprocessor.get("highfreq") or rate / 2),
        )
    except (LookupError, TypeError, ValueError) as error:
        raise EngineUnavailable(f"this is no configuration of FastPitch: {error!r}") from error
    _check_scale(preprocessor)
    return settings


def check_match(acoustic: MelSettings, vocoder: MelSettings, names: tuple[str, str]) -> None:
    """Refuse a pair that does not speak the same mel spectrogram.

    Args:
        names: of the acoustic model and the vocoder, for the sentence.

    Raises:
        EngineUnavailable: with each setting that differs and both its numbers.
    """
    ours, theirs = acoustic.model_dump(), vocoder.model_dump()
    different = [
        f"{name} {ours[name]:g} ≠ {theirs[name]:g}" for name in ours if ours[name] != theirs[name]
    ]
    if different:
        raise EngineUnavailable(
            f"{names[0]} and the vocoder {names[1]} do not fit together: {', '.join(different)}; "
            "choose a vocoder that was trained on the model's mel settings"
        )


def _check_scale(preprocessor: Mapping[str, Any]) -> None:
    """BigVGAN reads the natural logarithm of magnitudes, with nothing done to the audio before."""
    expected = {
        "mag_power": (1.0, 2.0),
        "preemph": (None, 0.97),
        "normalize": (None, "per_feature"),
    }
    for name, (needed, default) in expected.items():
        found = preprocessor.get(name, default)
        if (found or None) != needed:
            raise EngineUnavailable(
                f"FastPitch was trained on mel spectrograms with {name}={found}; "
                f"BigVGAN needs {name}={needed}"
            )
    if not preprocessor.get("log", True):
        raise EngineUnavailable("FastPitch was trained without log; BigVGAN needs log mel")
