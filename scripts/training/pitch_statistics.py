"""Pitch of every clip, found once and kept where training looks for it; its mean and spread."""

import hashlib
import json
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from rich.progress import track

from scripts.training.finetune_config import (
    Manifests,
    Misconfigured,
    cache_folder,
    dataset_config,
)
from scripts.training.journal import write_text
from scripts.training.moments import Moments, Pitch

_PITCH = 8
"""Where pitch stands in the tuple that an item of NeMo's dataset is."""


def pitch_of(config: dict[str, Any], manifests: Manifests) -> Pitch:
    """The configured pitch, or that of the training clips, computed unless it is known.

    Also fills the cache of both parts, so that the first epoch is as quick as the others.

    Raises:
        Misconfigured: only one of the two is configured, or no clip has a voice.
    """
    given = config["pitch_mean"], config["pitch_std"]
    if (given[0] is None) != (given[1] is None):
        raise Misconfigured("give both pitch_mean and pitch_std, or neither")
    cache = cache_folder(config, manifests)
    kept = cache / "pitch.json"
    content = manifests.train.read_bytes() + manifests.validation.read_bytes()
    key = hashlib.sha256(content).hexdigest()
    if kept.exists() and (known := json.loads(kept.read_text()))["manifests"] == key:
        computed = Pitch(known["mean"], known["std"])
    else:
        computed = _compute(config, manifests, cache)
        kept.parent.mkdir(parents=True, exist_ok=True)
        content_of_file = {"manifests": key, "mean": computed.mean, "std": computed.std}
        write_text(kept, json.dumps(content_of_file, indent=2) + "\n")
    return computed if given[0] is None else Pitch(*map(float, given))


def _compute(config: dict[str, Any], manifests: Manifests, cache: Path) -> Pitch:
    found = _moments(config, manifests.train, cache)
    _moments(config, manifests.validation, cache)
    if not found.count or not found.std:
        raise Misconfigured(
            f"no pitch between {config['pitch_fmin']:g} and {config['pitch_fmax']:g} Hz in "
            f"{manifests.train}"
        )
    return Pitch(found.mean, found.std)


def _moments(config: dict[str, Any], manifest: Path, cache: Path) -> Moments:
    import torch
    from nemo.collections.tts.data.dataset import TTSDataset

    settings = dataset_config(config, manifest, cache)
    settings |= {"sup_data_types": ["pitch"], "pitch_norm": False}
    del settings["_target_"], settings["pitch_mean"], settings["pitch_std"]
    clips = TTSDataset(**settings, text_tokenizer=_no_tokens, tokens=[], text_tokenizer_pad_id=0)
    loader = torch.utils.data.DataLoader(
        _PitchOfClips(clips), batch_size=None, num_workers=config["workers"]
    )
    total = Moments()
    for pitch in track(loader, f"pitch of {manifest.stem}", total=len(clips)):
        total += Moments.of(pitch[pitch > 0].numpy())
    return total


class _PitchOfClips:
    """Pitch in Hz [frames] of each clip, 0 where there is no voice."""

    def __init__(self, clips: Any) -> None:
        self._clips = clips

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, index: int) -> Any:
        try:
            return self._pitch(index)
        except (RuntimeError, EOFError, UnpicklingError):
            # A file of the cache that was being written when the process was killed.
            self._cached(index).unlink(missing_ok=True)
            return self._pitch(index)

    def _pitch(self, index: int) -> Any:
        return self._clips[index][_PITCH]

    def _cached(self, index: int) -> Path:
        clip = Path(self._clips.data[index]["audio_filepath"])
        name = str(clip.relative_to(self._clips.base_data_dir).with_suffix("")).replace("/", "_")
        return Path(self._clips.pitch_folder) / f"{name}.pt"


def _no_tokens(_: str) -> list[int]:
    return [0]
