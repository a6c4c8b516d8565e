"""FastPitch and BigVGAN to ONNX, with all that is needed to speak without NeMo (`exported.py`)."""

import warnings
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from services.tts.engines.base import EngineUnavailable
from services.tts.engines.fastpitch.bigvgan import (
    WEIGHTS,
    find_vocoder,
    load_bigvgan,
    reach,
    read_vocoder_config,
)
from services.tts.engines.fastpitch.exported import (
    DECODER,
    ENCODER,
    VOCODER,
    Manifest,
    phonemes_of,
    write_voice,
)
from services.tts.engines.fastpitch.mel import bigvgan_mel, check_match
from services.tts.engines.fastpitch.nemo import find_fastpitch, load_fastpitch

OPSET = 18
_EXAMPLE_LENGTH = 24
"""Tokens or frames of the inputs that the networks are followed with."""


def export_voice(model: str, vocoder: str, folder: Path, language: str) -> Manifest:
    """Write a folder that the `fastpitch_onnx` engine speaks with.

    Args:
        model: a `.nemo` file or `owner/name@commit`.
        vocoder: a folder of BigVGAN or `owner/name@commit`.
        language: BCP 47 tag of the texts that the model was trained on.

    Raises:
        EngineUnavailable: a library or a file is missing, or the two models do not fit together.
    """
    path, generator = find_fastpitch(model), find_vocoder(vocoder)
    config = read_vocoder_config(generator)
    acoustic = load_fastpitch(path, "cpu")
    check_match(acoustic.mel, bigvgan_mel(config), (model, vocoder))
    manifest = Manifest(
        language=language,
        speakers=acoustic.speakers,
        mel=acoustic.mel,
        reach=reach(config),
        tokens=acoustic.table,
        phonemes=phonemes_of(acoustic.pronouncer),
        sources={file.name: _digest(file) for file in (path, generator / WEIGHTS)},
    )
    folder.mkdir(parents=True, exist_ok=True)
    _export_halves(acoustic.encoder, acoustic.decoder, folder)
    _export_vocoder(load_bigvgan(generator, "cpu"), manifest.mel.bands, folder)
    write_voice(folder, manifest, acoustic.pronouncer)
    return manifest


def _export_halves(encoder: Any, decoder: Any, folder: Path) -> None:
    import torch
    from nemo.core.classes.common import typecheck

    ids = torch.ones(1, _EXAMPLE_LENGTH, dtype=torch.int64)
    speaker = torch.zeros(1, dtype=torch.int64)
    with typecheck.disable_checks(), torch.inference_mode():
        features, _ = encoder(ids, speaker)
        _export(
            encoder,
            {"ids": (ids, {1: "tokens"}), "speaker": (speaker, {})},
            ["features", "durations"],
            folder / ENCODER,
        )
        _export(
            decoder,
            {"features": (features, {1: "frames"}), "speaker": (speaker, {})},
            ["mel"],
            folder / DECODER,
        )


def _export_vocoder(generator: Any, bands: int, folder: Path) -> None:
    import torch

    mel = torch.zeros(1, bands, _EXAMPLE_LENGTH)
    _export(generator, {"mel": (mel, {2: "frames"})}, ["audio"], folder / VOCODER)


def _export(
    module: Any,
    inputs: Mapping[str, tuple[Any, Mapping[int, str]]],
    outputs: list[str],
    path: Path,
) -> None:
    """One network; the named axes of its inputs may have any length."""
    import torch

    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise EngineUnavailable(
            "the export needs onnxscript; install it with: uv sync --group nemo"
        ) from error
    shapes = tuple(
        dict.fromkeys(axes, torch.export.Dim.DYNAMIC) or None for _, axes in inputs.values()
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of deprecations within the exporter
        torch.onnx.export(
            module,
            tuple(example for example, _ in inputs.values()),
            str(path),
            input_names=list(inputs),
            output_names=outputs,
            dynamo=True,
            dynamic_shapes=shapes,
            external_data=False,
            opset_version=OPSET,
            verbose=False,
        )


def _digest(path: Path) -> str:
    digest = sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return f"sha256:{digest.hexdigest()}"
