"""Loading: the real code on files of the real names and shapes."""

import json
from pathlib import Path
from typing import Any

import pytest

from services.shared.models.store import ModelStore
from services.tts.config import (
    ChatterboxEngineConfig,
    ChatterboxVoiceConfig,
    EnginesConfig,
    PiperEngineConfig,
    TtsConfig,
)
from services.tts.engines.base import EngineUnavailable, SynthesisRequest
from services.tts.engines.chatterbox.engine import ChatterboxEngine, ChatterboxSource
from services.tts.engines.chatterbox.guard import TokenBudget
from services.tts.engines.chatterbox.models import ENGLISH, MULTILINGUAL, load_models, open_models
from services.tts.engines.registry import create_engines

pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


def test_a_hub_without_a_revision_is_refused() -> None:
    with pytest.raises(EngineUnavailable, match="set engines.chatterbox.revision"):
        open_models("ResembleAI/chatterbox", None)


def test_what_is_neither_a_folder_nor_a_repository_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match="no folder"):
        open_models(str(tmp_path / "nothing" / "here"), None)


def test_the_configuration_makes_the_engine_and_loading_says_what_is_missing(
    tmp_path: Path,
) -> None:
    voice = ChatterboxVoiceConfig(id="anna", name="Anna", language="de-DE", exaggeration=0.7)
    config = EnginesConfig(
        piper=PiperEngineConfig(enabled=False),
        chatterbox=ChatterboxEngineConfig(
            enabled=True, model=str(tmp_path / "weights"), multilingual=True, voices=(voice,)
        ),
    )
    [engine] = create_engines(config, ModelStore(tmp_path))
    assert engine.name == "chatterbox"
    assert engine.capabilities.cloning
    assert engine.capabilities.languages[:2] == ("de-DE", "ar")
    assert config.chatterbox.max_characters == engine.capabilities.max_characters == 280
    assert TtsConfig(engines=config).session_options(engine.capabilities).spoken_characters == 280
    with pytest.raises(EngineUnavailable, match="engines.chatterbox.model: there is no folder"):
        engine.load()


def test_guidance_cannot_be_switched_off() -> None:
    with pytest.raises(ValueError, match="cfg_weight"):
        ChatterboxVoiceConfig(id="a", name="A", language="en", cfg_weight=0)


@pytest.mark.chatterbox
def test_a_missing_file_is_named(chatterbox_library: Any, tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match=r"no t3_cfg\.safetensors"):
        load_models(tmp_path, ENGLISH)


@pytest.mark.chatterbox
def test_a_device_that_is_not_there_is_named(chatterbox_library: Any, tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(EngineUnavailable, match="sees no GPU"):
        load_models(tmp_path, ENGLISH, device="cuda")


@pytest.fixture(scope="module")
def shallow(chatterbox_library: Any) -> Any:
    """The language model with its real width and half its layers, narrow inside."""
    from chatterbox.models.t3.llama_configs import LLAMA_CONFIGS

    patch = pytest.MonkeyPatch()
    real = LLAMA_CONFIGS["Llama_520M"]
    layers = {"num_hidden_layers": 14, "intermediate_size": 64}
    patch.setitem(LLAMA_CONFIGS, "Llama_520M", real | layers)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def folder(shallow: Any, chatterbox_library: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All files of a model: random weights in the library's own modules."""
    import torch
    from chatterbox.models.s3gen import S3Gen
    from chatterbox.models.t3 import T3
    from chatterbox.models.t3.modules.t3_config import T3Config
    from chatterbox.models.voice_encoder import VoiceEncoder
    from safetensors.torch import save_file

    path = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    save_file(T3().state_dict(), path / "t3_cfg.safetensors")
    save_file(T3(T3Config.multilingual()).state_dict(), path / "t3_mtl23ls_v2.safetensors")
    save_file(VoiceEncoder().state_dict(), path / "ve.safetensors")
    speech = S3Gen().state_dict()
    for lacking in ("tokenizer._mel_filters", "tokenizer.window"):
        speech.pop(lacking)
    save_file({key: value.clone() for key, value in speech.items()}, path / "s3gen.safetensors")
    chatterbox_library.write_vocabulary(path)
    multilingual = tmp_path_factory.mktemp("vocabulary")
    chatterbox_library.write_vocabulary(multilingual, multilingual=True).rename(
        path / MULTILINGUAL.vocabulary
    )
    voice = chatterbox_library.random_voice()
    tensors = {key: torch.from_numpy(value) for key, value in voice.as_mapping().items()}
    stored = {
        "t3": {
            "speaker_emb": tensors["speaker"],
            "cond_prompt_speech_tokens": tensors["prompt_tokens"].long(),
            "emotion_adv": torch.full((1, 1, 1), 0.5),
        },
        "gen": {
            "prompt_token": tensors["reference_tokens"].long(),
            "prompt_feat": tensors["reference_mel"],
            "embedding": tensors["timbre"],
        },
    }
    torch.save(stored, path / "conds.pt")
    return path


@pytest.mark.chatterbox
@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("variant", [ENGLISH, MULTILINGUAL], ids=["english", "multilingual"])
def test_files_of_the_real_shapes_speak(folder: Path, variant: Any) -> None:
    engine = ChatterboxEngine(
        lambda: load_models(folder, variant),
        [ChatterboxSource("chatterbox", "Chatterbox", "en")],
        multilingual=variant.multilingual,
        budget=TokenBudget(0.4, 0.0),
        lanes=1,
    )
    engine.load()
    assert engine._loaded is not None
    assert len(engine.conditioning_version) == 16
    pieces = list(engine.synthesize(SynthesisRequest("Hello there.", "chatterbox", seed=1)))
    assert sum(len(piece.samples) for piece in pieces) % 480 == 0
    engine.close()


@pytest.mark.chatterbox
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_weights_of_another_model_are_refused(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / "t3_cfg.safetensors").unlink()
    (tmp_path / "t3_cfg.safetensors").symlink_to(folder / "t3_mtl23ls_v2.safetensors")
    with pytest.raises(EngineUnavailable, match="does not fit the model"):
        load_models(tmp_path, ENGLISH)
    (tmp_path / "t3_cfg.safetensors").unlink()
    (tmp_path / "t3_cfg.safetensors").symlink_to(folder / "ve.safetensors")
    with pytest.raises(EngineUnavailable, match="weights are missing"):
        load_models(tmp_path, ENGLISH)


@pytest.mark.chatterbox
def test_the_table_of_chinese_characters_comes_from_the_folder(
    chatterbox_library: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chatterbox.models.tokenizers.tokenizer import ChineseCangjieConverter

    from services.tts.engines.chatterbox.models import read_cangjie

    monkeypatch.setattr(ChineseCangjieConverter, "_init_segmenter", _no_segmenter)
    table = tmp_path / "Cangjie5_TC.json"
    table.write_text(json.dumps(["日\ta", "曰\ta", "月\tb"]), encoding="utf-8")
    converter = read_cangjie(ChineseCangjieConverter, table)
    assert converter("日月") == "[cj_a][cj_.][cj_b][cj_.]"
    assert converter("曰") == "[cj_a][cj_1][cj_.]"


def _no_segmenter(converter: Any) -> None:
    converter.segmenter = None
