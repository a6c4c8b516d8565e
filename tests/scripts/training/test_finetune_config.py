"""The configuration: complete, overridable, and refused with a sentence when it cannot work."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.training.finetune_config import (
    DEFAULT,
    Manifests,
    Misconfigured,
    cache_folder,
    count_voices,
    dataset_config,
    model_config,
    read_config,
    read_manifests,
)
from scripts.training.moments import Pitch

CONFIG: dict[str, Any] = yaml.safe_load(DEFAULT.read_text(encoding="utf-8"))
MANIFESTS = Manifests(Path("m"), frozenset({0, 1}), frozenset({1}))


@pytest.mark.parametrize(
    ("training", "validation", "asked", "voices"),
    [
        ({0}, {0}, None, 1),
        ({0, 1, 2}, {1}, None, 3),
        ({0, 1, 2}, {1}, 5, 5),
        ({0, 1, 2}, {3}, 1, 1),
    ],
)
def test_voices(training: set[int], validation: set[int], asked: int | None, voices: int) -> None:
    assert count_voices(training, validation, asked) == voices


@pytest.mark.parametrize(
    ("validation", "asked", "sentence"),
    [({3}, None, "--by clips"), ({1}, 2, "the training part has 3")],
)
def test_impossible_voices(validation: set[int], asked: int | None, sentence: str) -> None:
    with pytest.raises(Misconfigured, match=sentence):
        count_voices({0, 1, 2}, validation, asked)


def test_the_model_gets_manifests_pitch_and_voices() -> None:
    found = model_config(CONFIG, MANIFESTS, Pitch(210.0, 45.0), 2)
    train, validation = found["train_ds"]["dataset"], found["validation_ds"]["dataset"]
    assert train["manifest_filepath"] == "m/train.jsonl"
    assert train["sup_data_path"] != validation["sup_data_path"]
    assert (train["pitch_mean"], found["pitch_std"], found["n_speakers"]) == (210.0, 45.0, 2)
    assert train["sup_data_types"] == ["align_prior_matrix", "pitch", "speaker_id"]
    assert CONFIG["dataset"]["sup_data_types"] == ["align_prior_matrix", "pitch"]
    one = model_config(CONFIG, MANIFESTS, Pitch(210.0, 45.0), 1)
    assert "speaker_id" not in one["train_ds"]["dataset"]["sup_data_types"]


def test_pitch_found_otherwise_is_kept_elsewhere() -> None:
    here = cache_folder(CONFIG, MANIFESTS)
    assert here == cache_folder(CONFIG | {"batch_size": 1}, MANIFESTS)
    assert here != cache_folder(CONFIG | {"pitch_fmax": 500.0}, MANIFESTS)
    assert dataset_config(CONFIG, MANIFESTS.train, here)["sup_data_path"] == str(here / "train")


def test_manifests_are_checked_before_anything_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="write it with create_manifest"):
        read_manifests(tmp_path)
    clip = tmp_path / "a.flac"
    line = json.dumps({"audio_filepath": str(clip), "speaker": 2})
    for name in ("train", "validation"):
        (tmp_path / f"{name}.jsonl").write_text(line + "\n")
    with pytest.raises(Misconfigured, match=r"1 clips of .*train.jsonl are gone.*a\.flac"):
        read_manifests(tmp_path)
    clip.write_bytes(b"x")
    assert read_manifests(tmp_path).training_speakers == {2}
    (tmp_path / "validation.jsonl").write_text("")
    with pytest.raises(Misconfigured, match="no clip"):
        read_manifests(tmp_path)


@pytest.mark.nemo
@pytest.mark.skipif(importlib.util.find_spec("omegaconf") is None, reason="no omegaconf here")
class TestWithOmegaConf:
    def test_overrides_reach_what_refers_to_them(self) -> None:
        found = read_config(DEFAULT, ["manifests=m", "out=o", "highfreq=8000", "batch_size=4"])
        assert found["model"]["preprocessor"]["highfreq"] == 8000
        assert found["model"]["train_ds"]["dataset"]["highfreq"] == 8000
        assert found["model"]["validation_ds"]["dataloader_params"]["batch_size"] == 4
        assert found["exp_manager"]["explicit_log_dir"] == "o/run"

    @pytest.mark.parametrize(
        ("overrides", "sentence"),
        [
            (["out=o"], "add manifests=FOLDER"),
            (["manifests=m", "out=o", "model.lerning_rate=1"], "lerning_rate"),
        ],
    )
    def test_mistakes_are_told(self, overrides: list[str], sentence: str) -> None:
        with pytest.raises(Misconfigured, match=sentence):
            read_config(DEFAULT, overrides)
