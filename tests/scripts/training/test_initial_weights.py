"""What a Vietnamese model takes from an English one, by names and shapes, then with real models."""

import importlib.util
import tarfile
from pathlib import Path

import pytest

from scripts.training.finetune_config import Misconfigured
from scripts.training.initial_weights import choose, take_weights
from tests.services.tts.engines.fastpitch.models import (
    fastpitch_config,
    save_fastpitch,
    tokenizer_config,
)

needs_nemo = [
    pytest.mark.nemo,
    pytest.mark.timeout(120),
    pytest.mark.filterwarnings("ignore"),  # of the libraries, which are many
    pytest.mark.skipif(importlib.util.find_spec("nemo") is None, reason="NeMo is not installed"),
]


def test_names_and_shapes_decide() -> None:
    model = {
        "fastpitch.encoder.word_emb.weight": (190, 384),
        "fastpitch.encoder.layers.0.weight": (384, 384),
        "fastpitch.speaker_emb.weight": (5, 384),
        "fastpitch.proj.weight": (80, 384),
        "fastpitch.new.weight": (1,),
        "preprocessor.featurizer.fb": (1, 80, 513),
        "fastpitch.pitch_mean": (1,),
    }
    english = {
        "fastpitch.encoder.word_emb.weight": (115, 384),
        "fastpitch.encoder.layers.0.weight": (384, 384),
        "fastpitch.proj.weight": (100, 384),
        "preprocessor.featurizer.fb": (1, 80, 513),
        "fastpitch.pitch_mean": (1,),
        "fastpitch.old.weight": (1,),
    }
    found = choose(model, english)
    assert found.taken == ("fastpitch.encoder.layers.0.weight",)
    assert found.left == {
        "fastpitch.encoder.word_emb.weight": "symbols of another alphabet",
        "fastpitch.speaker_emb.weight": "other speakers",
        "fastpitch.proj.weight": "shape [100, 384] there, [80, 384] here",
        "fastpitch.new.weight": "not in the checkpoint",
        "preprocessor.featurizer.fb": (
            "the mel filters of the configuration, not those of the checkpoint (8 kHz)"
        ),
        "fastpitch.pitch_mean": "pitch of other speakers",
    }
    assert found.unused == ("fastpitch.old.weight",)


class TestWithNemo:
    pytestmark = needs_nemo

    def test_all_but_symbols_speakers_filters_and_pitch_is_taken(self, tmp_path: Path) -> None:
        import torch
        from nemo.collections.tts.models import FastPitchModel
        from omegaconf import OmegaConf

        english = save_fastpitch(
            tmp_path / "english.nemo", fastpitch_config(tokenizer_config("arpabet", tmp_path))
        )
        vietnamese = tokenizer_config("VietnameseCharsTokenizer", tmp_path)
        model = FastPitchModel(
            OmegaConf.create(fastpitch_config(vietnamese, speakers=3, fmax=None))
        )
        before = {name: value.clone() for name, value in model.state_dict().items()}
        choice = take_weights(model, english)
        after = model.state_dict()
        for name in choice.left:
            assert torch.equal(after[name], before[name])
        changed = [name for name in after if not torch.equal(after[name], before[name])]
        assert set(changed) <= set(choice.taken)
        assert len(changed) > 40
        assert set(choice.left) == {
            "fastpitch.encoder.word_emb.weight",
            "fastpitch.speaker_emb.weight",
            "fastpitch.pitch_mean",
            "fastpitch.pitch_std",
            "preprocessor.featurizer.fb",
            "preprocessor.featurizer.window",
        }
        assert choice.unused == ()

    @pytest.mark.parametrize("content", ["nothing", "archive"])
    def test_a_file_that_is_no_model_is_told(self, tmp_path: Path, content: str) -> None:
        path = tmp_path / "model.nemo"
        if content == "archive":
            with tarfile.open(path, "w") as archive:
                archive.add(__file__, "model_config.yaml")
        else:
            path.write_bytes(b"no tar")
        with pytest.raises(Misconfigured, match=r"model\.nemo"):
            take_weights(None, path)
