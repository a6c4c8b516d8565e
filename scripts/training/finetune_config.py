"""The configuration of a fine-tuning run: read, checked with sentences that help, completed."""

import hashlib
import json
from collections.abc import Collection, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.training.moments import Pitch

DEFAULT = Path(__file__).with_name("config_finetune_vi.yaml")


class Misconfigured(Exception):
    """The run cannot begin; the sentence says what to do."""


@dataclass(frozen=True, slots=True)
class Manifests:
    """What `create_manifest` wrote."""

    folder: Path
    training_speakers: frozenset[int]
    validation_speakers: frozenset[int]

    @property
    def train(self) -> Path:
        return self.folder / "train.jsonl"

    @property
    def validation(self) -> Path:
        return self.folder / "validation.jsonl"


def read_config(path: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """The file with `key.of.it=value` pairs over it, interpolations resolved.

    Raises:
        Misconfigured: a key that is not known, or one that has no value yet.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        config = OmegaConf.load(path)
        OmegaConf.set_struct(config, True)
        config = OmegaConf.merge(config, OmegaConf.from_dotlist(list(overrides)))
        for name in ("manifests", "out"):
            if OmegaConf.is_missing(config, name):
                raise Misconfigured(f"{name} is not given; add {name}=FOLDER")
        resolved: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except (OmegaConfBaseException, OSError) as wrong:
        first = str(wrong).splitlines()[0]
        raise Misconfigured(
            f"{path.name} with {' '.join(overrides) or 'nothing'}: {first}"
        ) from None
    found: dict[str, Any] = resolved
    return found


def read_manifests(folder: Path) -> Manifests:
    """Make sure that the manifests and the clips they name are there.

    Raises:
        Misconfigured
    """
    speakers = []
    for name in ("train", "validation"):
        path = folder / f"{name}.jsonl"
        if not path.is_file():
            raise Misconfigured(f"{path} is not there; write it with create_manifest")
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        if not lines:
            raise Misconfigured(f"{path} has no clip")
        gone = [
            line["audio_filepath"] for line in lines if not Path(line["audio_filepath"]).exists()
        ]
        if gone:
            raise Misconfigured(f"{len(gone)} clips of {path} are gone, the first is {gone[0]}")
        speakers.append(frozenset(int(line["speaker"]) for line in lines))
    return Manifests(folder, *speakers)


def count_voices(training: Collection[int], validation: Collection[int], asked: int | None) -> int:
    """How many voices the model gets.

    Raises:
        Misconfigured: validation needs voices that nobody trains.
    """
    if asked == 1:
        return 1
    needed = max(training) + 1
    if asked is not None and asked < needed:
        raise Misconfigured(f"model.n_speakers={asked}, but the training part has {needed}")
    unseen = set(validation) - set(training)
    if unseen and max(needed, asked or 0) > 1:
        raise Misconfigured(
            f"{len(unseen)} speakers are in validation only, and a voice is a row of a table that "
            "training fills; divide with `create_manifest --by clips`, or train the mean of all "
            "voices with model.n_speakers=1"
        )
    return asked or needed


def cache_folder(config: dict[str, Any], manifests: Manifests) -> Path:
    """Where pitch is kept, apart for everything that changes it."""
    names = ("pitch_fmin", "pitch_fmax", "sample_rate", "n_window_size")
    what = json.dumps([config[name] for name in names])
    return manifests.folder / "sup_data" / hashlib.sha256(what.encode()).hexdigest()[:12]


def dataset_config(config: dict[str, Any], manifest: Path, cache: Path) -> dict[str, Any]:
    """NeMo's dataset for one manifest.

    The cache's names are relative to the folder that a manifest's clips share, which may differ
    among manifests: each has a folder of its own.
    """
    found: dict[str, Any] = deepcopy(config["dataset"])
    found["manifest_filepath"] = str(manifest)
    found["sup_data_path"] = str(cache / manifest.stem)
    return found


def model_config(
    config: dict[str, Any], manifests: Manifests, pitch: Pitch, voices: int
) -> dict[str, Any]:
    """All that NeMo's model needs, as one tree without references."""
    found: dict[str, Any] = deepcopy(config["model"])
    cache = cache_folder(config, manifests)
    values = {"pitch_mean": pitch.mean, "pitch_std": pitch.std}
    found |= values | {"n_speakers": voices}
    for name, manifest in (("train_ds", manifests.train), ("validation_ds", manifests.validation)):
        dataset = dataset_config(config, manifest, cache) | values
        if voices > 1 and "speaker_id" not in dataset["sup_data_types"]:
            dataset["sup_data_types"].append("speaker_id")
        found[name]["dataset"] = dataset
    return found
