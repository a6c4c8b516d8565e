"""BigVGAN v2: its files, and how far a frame of the mel spectrogram is heard around itself."""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from services.tts.engines.base import EngineUnavailable
from services.tts.engines.fastpitch.hub import resolve
from services.tts.engines.fastpitch.mel import bigvgan_mel

CONFIG = "config.json"
WEIGHTS = "bigvgan_generator.pt"
_EDGE_TAPS = 3
"""Samples on each side that the first and the last convolution see."""
_ACTIVATION_TAPS = 7
"""Samples on each side that an anti-aliased activation sees: twelve taps up, twelve down, at twice
the rate, and one for their being even."""


def find_vocoder(source: str) -> Path:
    """The folder with both files. Raises EngineUnavailable."""
    folder = resolve(source, (CONFIG, WEIGHTS))
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise EngineUnavailable(f"the vocoder {source} has no {name}")
    return folder


def read_vocoder_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EngineUnavailable(f"{path} cannot be read: {error}") from error
    mel = bigvgan_mel(config)
    made = 1
    for rate in config.get("upsample_rates", ()):
        made *= rate
    if made != mel.hop:
        raise EngineUnavailable(
            f"{path}: its upsampling gives {made} samples a frame, not {mel.hop}"
        )
    return config


def reach(config: Mapping[str, Any]) -> int:
    """Frames on each side that a sample depends on: an upper bound, from the network's shape."""
    samples = _EDGE_TAPS + _ACTIVATION_TAPS
    stages = zip(config["upsample_rates"], config["upsample_kernel_sizes"], strict=True)
    for rate, kernel in reversed(list(stages)):
        samples += max(
            _block_reach(config, size, dilations)
            for size, dilations in zip(
                config["resblock_kernel_sizes"], config["resblock_dilation_sizes"], strict=True
            )
        )
        samples = -(-(samples + kernel) // rate)
    return samples + _EDGE_TAPS


def _block_reach(config: Mapping[str, Any], kernel: int, dilations: list[int]) -> int:
    half = kernel // 2
    if str(config["resblock"]) == "1":
        return sum(half * dilation + half + 2 * _ACTIVATION_TAPS for dilation in dilations)
    return sum(half * dilation + _ACTIVATION_TAPS for dilation in dilations)


def load_bigvgan(folder: Path, device: str, *, cuda_kernel: bool = False) -> Any:
    """The generator in torch, ready to run: mel [1, bands, T] → [1, 1, hop * T].

    Raises:
        EngineUnavailable: the library is missing, or the weights do not fit the configuration.
    """
    config = read_vocoder_config(folder)
    try:
        import torch
        from bigvgan.bigvgan import BigVGAN
        from bigvgan.env import AttrDict
    except ImportError as error:
        raise EngineUnavailable(
            "the fastpitch engine needs NeMo and BigVGAN; install them with: "
            f"uv sync --group nemo ({error})"
        ) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # weight_norm as BigVGAN uses it
            model = BigVGAN(AttrDict(config), use_cuda_kernel=cuda_kernel)
        weights = torch.load(folder / WEIGHTS, map_location="cpu", weights_only=True)["generator"]
        if not any(name.endswith("weight_g") for name in weights):
            _fold(model)
            model.load_state_dict(weights)
        else:
            model.load_state_dict(weights)
            _fold(model)
    except Exception as error:
        raise EngineUnavailable(f"the vocoder in {folder} cannot be loaded: {error}") from error
    return model.eval().requires_grad_(False).to(device)


def _fold(model: Any) -> None:
    """Weight normalisation into plain weights: the library's own way prints."""
    from torch.nn.utils import remove_weight_norm

    for module in model.modules():
        if hasattr(module, "weight_g"):
            remove_weight_norm(module)
