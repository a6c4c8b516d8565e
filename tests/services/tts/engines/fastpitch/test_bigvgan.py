"""BigVGAN: its reach by the shape of the network, its files, its audio in windows."""

import json
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.tts.engines.base import EngineUnavailable, Floats
from services.tts.engines.fastpitch.bigvgan import (
    find_vocoder,
    load_bigvgan,
    reach,
    read_vocoder_config,
)
from services.tts.engines.fastpitch.mel import bigvgan_mel
from services.tts.engines.fastpitch.speech import Vocoder
from tests.services.tts.engines.fastpitch.models import (
    BANDS,
    HOP,
    small_vocoder_config,
    vocoder_config,
)


def test_the_published_network_reaches_half_a_second() -> None:
    assert reach(vocoder_config(channels=1536)) == 44


def write_config(folder: Path, config: dict[str, Any]) -> Path:
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match=r"config\.json"):
        find_vocoder(str(tmp_path))
    with pytest.raises(EngineUnavailable, match=r"bigvgan_generator\.pt"):
        find_vocoder(str(write_config(tmp_path, vocoder_config())))


def test_a_configuration_that_contradicts_itself(tmp_path: Path) -> None:
    config = vocoder_config() | {"upsample_rates": [4, 4, 2, 2, 2]}
    with pytest.raises(EngineUnavailable, match="128 samples a frame, not 256"):
        read_vocoder_config(write_config(tmp_path, config))


def test_a_configuration_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("no")
    with pytest.raises(EngineUnavailable, match=r"config\.json cannot be read"):
        read_vocoder_config(tmp_path)


def vocoder(folder: Path) -> Vocoder:
    import torch

    config = read_vocoder_config(folder)
    generator = load_bigvgan(folder, "cpu").double()

    def run(mel: Floats) -> Floats:
        with torch.inference_mode():
            audio = generator(torch.from_numpy(mel[np.newaxis]).double())
        return np.asarray(audio.reshape(-1).numpy())

    return Vocoder(run, bigvgan_mel(config), reach(config))


def noise(frames: int) -> Floats:
    return np.random.default_rng(2).standard_normal((BANDS, frames)).astype(np.float32)


@pytest.mark.nemo
@pytest.mark.parametrize("shape", ["small", "published"])
def test_nothing_is_heard_beyond_the_reach(nemo_models: Any, tmp_path: Path, shape: str) -> None:
    config = small_vocoder_config() if shape == "small" else vocoder_config(channels=64)
    model = vocoder(nemo_models.save_vocoder(tmp_path, config))
    frames = 2 * model.reach + 41
    middle = frames // 2
    mel = noise(frames)
    changed = mel.copy()
    changed[:, middle] += 100
    difference = np.abs(model.run(mel) - model.run(changed)).reshape(frames, HOP).max(axis=1)
    touched = np.abs(np.flatnonzero(difference) - middle).max()
    assert model.reach // 2 < touched <= model.reach


@pytest.mark.nemo
@pytest.mark.parametrize("window", [8, 16, 50])
def test_windows_joined_are_one_run(fastpitch_files: Path, window: int) -> None:
    model = vocoder(fastpitch_files / "english")
    mel = noise(120)
    joined = np.concatenate(list(model.audio(mel, repeat(window))))
    np.testing.assert_allclose(joined, model.run(mel), atol=1e-9)


@pytest.mark.nemo
@pytest.mark.parametrize("folded", [False, True])
def test_the_audio_is_that_of_the_library(nemo_models: Any, tmp_path: Path, folded: bool) -> None:
    import torch

    config = small_vocoder_config()
    nemo_models.save_vocoder(tmp_path, config, folded=folded)
    theirs = nemo_models.new_vocoder(config)
    if folded:
        theirs.remove_weight_norm()
    theirs.load_state_dict(torch.load(tmp_path / "bigvgan_generator.pt")["generator"])
    mel = torch.from_numpy(noise(30)[np.newaxis])
    with torch.inference_mode():
        torch.testing.assert_close(load_bigvgan(tmp_path, "cpu")(mel), theirs.eval()(mel))


@pytest.mark.nemo
def test_weights_that_do_not_fit_are_refused(fastpitch_files: Path, tmp_path: Path) -> None:
    weights = (fastpitch_files / "english" / "bigvgan_generator.pt").read_bytes()
    (tmp_path / "bigvgan_generator.pt").write_bytes(weights)
    write_config(tmp_path, vocoder_config())
    with pytest.raises(EngineUnavailable, match="cannot be loaded"):
        load_bigvgan(tmp_path, "cpu")
    (tmp_path / "bigvgan_generator.pt").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(EngineUnavailable, match="cannot be loaded"):
        load_bigvgan(tmp_path, "cpu")
