"""Fine-tune FastPitch to Vietnamese with NeMo, and write the `.nemo` that the TTS service speaks.

python -m scripts.training.run_finetune manifests=DIR out=DIR init_from=tts_en_fastpitch.nemo

In the environment of NeMo. Run the same command again to go on after an interruption.
"""

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from scripts.training.finetune_config import (
    DEFAULT,
    Misconfigured,
    count_voices,
    model_config,
    read_config,
    read_manifests,
)
from scripts.training.initial_weights import Choice, take_weights
from scripts.training.journal import write_text
from scripts.training.moments import Pitch
from scripts.training.pitch_statistics import pitch_of


def finetune(config: dict[str, Any], console: Console) -> Path:
    """Train until the validation loss stops falling; gives the `.nemo` file.

    Raises:
        Misconfigured: the run cannot begin.
    """
    manifests = read_manifests(Path(config["manifests"]))
    asked = config["model"]["n_speakers"]
    voices = count_voices(manifests.training_speakers, manifests.validation_speakers, asked)
    pitch = pitch_of(config, manifests)
    console.print(f"{voices} voices; pitch {pitch.mean:.1f} ± {pitch.std:.1f} Hz")
    model = build(config, model_config(config, manifests, pitch, voices))
    out = Path(config["out"])
    if config["init_from"]:
        _tell(console, out, take_weights(model, Path(config["init_from"])))
    keep_pitch(model, pitch)
    model.trainer.fit(model)
    return export(model, out / f"{config['name']}.nemo", console)


def build(config: dict[str, Any], tree: dict[str, Any]) -> Any:
    """The model with its trainer, seeded; its data is loaded by NeMo here."""
    import lightning.pytorch as lightning
    import torch
    from nemo.collections.tts.models import FastPitchModel
    from nemo.utils.exp_manager import exp_manager
    from omegaconf import OmegaConf

    lightning.seed_everything(config["seed"], workers=True)
    for part in ("train_ds", "validation_ds"):
        tree[part]["dataloader_params"]["pin_memory"] = torch.cuda.is_available()
    trainer = lightning.Trainer(
        **(config["trainer"] | {"precision": precision(config["trainer"]["precision"])}),
        logger=False,  # exp_manager brings both
        enable_checkpointing=False,
    )
    exp_manager(trainer, OmegaConf.create(config["exp_manager"]))
    return FastPitchModel(cfg=OmegaConf.create(tree), trainer=trainer)


def precision(asked: str | int) -> str | int:
    """`auto`: the shortest floats that this machine trains well with."""
    import torch

    if asked != "auto":
        return asked
    if not torch.cuda.is_available():
        return "32-true"
    return "bf16-mixed" if torch.cuda.get_device_capability() >= (8, 0) else "16-mixed"


def keep_pitch(model: Any, pitch: Pitch) -> None:
    """Let the file tell the pitch it was trained with; NeMo has a place for it."""
    model.fastpitch.pitch_mean.fill_(pitch.mean)
    model.fastpitch.pitch_std.fill_(pitch.std)


def export(model: Any, path: Path, console: Console) -> Path:
    """Write the weights of the best checkpoint, or of the last when none is known."""
    import torch

    best = model.trainer.checkpoint_callback.best_model_path
    if best:
        # Our own file of the run above; it holds more than tensors.
        state = torch.load(best, map_location="cpu", weights_only=False)["state_dict"]
        model.load_state_dict(state)
    model.eval()
    path.parent.mkdir(parents=True, exist_ok=True)
    model.save_to(str(path))
    console.print(f"{path} from {Path(best).name if best else 'the last step'}")
    return path


def _tell(console: Console, out: Path, choice: Choice) -> None:
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "initial_weights.json", json.dumps(asdict(choice), indent=2) + "\n")
    reasons = Counter(choice.left.values())
    console.print(f"{len(choice.taken)} parameters taken, {len(choice.left)} not:")
    for reason, count in reasons.most_common():
        console.print(f"  {count}: {reason}")


def main(
    overrides: Annotated[list[str], typer.Argument(metavar="KEY=VALUE...")],
    config: Annotated[Path, typer.Option(exists=True)] = DEFAULT,
) -> None:
    """Fine-tune FastPitch. The configuration file tells all keys."""
    console = Console(stderr=True)
    try:
        finetune(read_config(config, overrides), console)
    except Misconfigured as problem:
        console.print(f"[red]{problem}[/]")
        raise typer.Exit(1) from None
    except ModuleNotFoundError as missing:
        console.print(
            f"[red]{missing.name} is not installed: this runs in the environment of NeMo "
            "(scripts/training/README.md)[/]"
        )
        raise typer.Exit(1) from None


if __name__ == "__main__":
    typer.run(main)
