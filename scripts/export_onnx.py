#!/usr/bin/env python3
"""Export a FastPitch voice to ONNX: a folder for the `fastpitch_onnx` engine, without torch.

Runs in the environment of the `nemo` group:

    python scripts/export_onnx.py --model tts_en_fastpitch.nemo \\
        --vocoder bigvgan_v2_22khz_80band_fmax8k_256x --language en-US --output models/en
"""

from pathlib import Path
from typing import Annotated

import typer

from services.tts.engines.base import EngineUnavailable
from services.tts.engines.fastpitch.export import export_voice


def main(
    model: Annotated[str, typer.Option(help="A .nemo file, or owner/name@commit of the hub.")],
    vocoder: Annotated[str, typer.Option(help="A folder of BigVGAN, or owner/name@commit.")],
    output: Annotated[Path, typer.Option(help="Folder to write.")],
    language: Annotated[str, typer.Option(help="What the model speaks, e.g. en-US, vi-VN.")],
) -> None:
    """Export FastPitch and BigVGAN to one folder."""
    try:
        manifest = export_voice(model, vocoder, output, language)
    except EngineUnavailable as error:
        typer.echo(error.message, err=True)
        raise typer.Exit(1) from error
    size = sum(file.stat().st_size for file in output.iterdir()) / 2**20
    typer.echo(
        f"{output}: {manifest.language}, {max(1, manifest.speakers)} speaker(s), "
        f"{manifest.mel.sample_rate} Hz, {size:.0f} MiB"
    )


if __name__ == "__main__":
    typer.run(main)
