"""What a new model takes from another language's checkpoint, and what it must not take."""

import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.training.finetune_config import Misconfigured

_WEIGHTS = "model_weights.ckpt"
NOT_TAKEN = {
    "fastpitch.encoder.word_emb.": "symbols of another alphabet",
    "fastpitch.speaker_emb.": "other speakers",
    "fastpitch.speaker_encoder.": "other speakers",
    "preprocessor.": "the mel filters of the configuration, not those of the checkpoint (8 kHz)",
    "fastpitch.pitch_mean": "pitch of other speakers",
    "fastpitch.pitch_std": "pitch of other speakers",
}
"""Parameters and buffers by the beginning of their names, and why they stay."""

Shapes = Mapping[str, Sequence[int]]


@dataclass(frozen=True, slots=True)
class Choice:
    """What becomes of each parameter of the new model."""

    taken: tuple[str, ...]
    left: dict[str, str]
    """Name → why it keeps what it has."""
    unused: tuple[str, ...]
    """Of the checkpoint, without a place in the model."""


def choose(model: Shapes, offered: Shapes) -> Choice:
    """Decide by names and shapes. Pure."""
    taken, left = [], {}
    for name, shape in model.items():
        reason = next((why for begin, why in NOT_TAKEN.items() if name.startswith(begin)), "")
        if not reason and name not in offered:
            reason = "not in the checkpoint"
        elif not reason and tuple(shape) != tuple(offered[name]):
            reason = f"shape {list(offered[name])} there, {list(shape)} here"
        if reason:
            left[name] = reason
        else:
            taken.append(name)
    return Choice(tuple(taken), left, tuple(name for name in offered if name not in model))


def take_weights(model: Any, checkpoint: Path) -> Choice:
    """Fill `model` (a NeMo FastPitch) from a `.nemo` file.

    The other model itself is not built: its tokenizer may need files, or code, that are not here.

    Raises:
        Misconfigured: the file is no `.nemo`, or of a model with nothing in common.
    """
    weights = read_weights(checkpoint)
    here = model.state_dict()
    choice = choose(
        {name: tuple(value.shape) for name, value in here.items()},
        {name: tuple(value.shape) for name, value in weights.items()},
    )
    if not choice.taken:
        raise Misconfigured(f"{checkpoint} has no parameter in common with this model")
    model.load_state_dict(here | {name: weights[name] for name in choice.taken})
    return choice


def read_weights(checkpoint: Path) -> dict[str, Any]:
    """The tensors of a `.nemo` file, on the CPU.

    Raises:
        Misconfigured
    """
    import torch

    try:
        with tarfile.open(checkpoint) as archive, tempfile.TemporaryFile() as file:
            member = next(
                (one for one in archive if one.isfile() and Path(one.name).name == _WEIGHTS), None
            )
            content = archive.extractfile(member) if member is not None else None
            if content is None:
                raise Misconfigured(f"{checkpoint} has no {_WEIGHTS}; it is no .nemo of a model")
            while block := content.read(1 << 20):
                file.write(block)
            file.seek(0)
            found: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
            return found
    except (OSError, tarfile.TarError) as broken:
        raise Misconfigured(f"init_from={checkpoint}: {broken}") from None
