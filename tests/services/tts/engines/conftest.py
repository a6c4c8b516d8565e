"""Engines that several test files share."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.tts.engines.chatterbox.engine import ChatterboxEngine, ChatterboxSource
from services.tts.engines.chatterbox.guard import TokenBudget
from services.tts.engines.fastpitch.engine import FastPitchEngine, FastPitchSource
from services.tts.engines.fastpitch.onnx_engine import ExportedSource, FastPitchOnnxEngine
from tests.services.tts.engines.fastpitch.graphs import write_small_voice


@pytest.fixture(scope="session")
def chatterbox_library() -> Any:
    """The test helpers that import Chatterbox's library; skips where that is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the library's own dependencies
        pytest.importorskip("chatterbox", reason="needs Chatterbox's environment")
        import torch

        from tests.services.tts.engines.chatterbox import random_models

        torch.set_num_threads(1)
        return random_models


@pytest.fixture(scope="session")
def watermarker(chatterbox_library: Any) -> Any:
    """The real one, with its real weights."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from services.tts.engines.chatterbox.watermark import load_watermarker

        return load_watermarker()


@pytest.fixture(scope="session")
def chatterbox_models(
    chatterbox_library: Any, watermarker: Any, tmp_path_factory: pytest.TempPathFactory
) -> Any:
    """Small networks with random weights."""
    folder: Path = tmp_path_factory.mktemp("chatterbox")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return chatterbox_library.random_models(folder, watermarker)


@pytest.fixture(scope="module")
def chatterbox_engine(chatterbox_models: Any) -> Iterator[ChatterboxEngine]:
    """Real networks, small, with random weights; the budget decides how long they speak."""
    engine = ChatterboxEngine(
        lambda: chatterbox_models,
        [ChatterboxSource("chatterbox", "Chatterbox", "en-US")],
        budget=TokenBudget(start_s=0.3, character_s=0.1),
    )
    engine.load()
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def nemo_models() -> Any:
    """The test helpers that make models with NeMo and BigVGAN; skips where those are missing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries' own dependencies
        pytest.importorskip("nemo", reason="needs NeMo's environment")
        import nemo.collections.tts.models  # noqa: F401 - its warnings belong here
        import torch

        from tests.services.tts.engines.fastpitch import models

        torch.set_num_threads(1)
        return models


@pytest.fixture(scope="session")
def fastpitch_files(nemo_models: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small models with random weights.

    `arpabet.nemo`, `ipa.nemo` (of three speakers) and the vocoder `english` end at 8 kHz,
    `vietnamese.nemo` and the vocoder `full` do not.
    """
    folder: Path = tmp_path_factory.mktemp("fastpitch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for kind, speakers in (("arpabet", 1), ("ipa", 3)):
            config = nemo_models.fastpitch_config(
                nemo_models.tokenizer_config(kind, folder), speakers=speakers
            )
            nemo_models.save_fastpitch(folder / f"{kind}.nemo", config)
        config = nemo_models.fastpitch_config(
            nemo_models.tokenizer_config("VietnameseCharsTokenizer", folder), fmax=None
        )
        nemo_models.save_fastpitch(folder / "vietnamese.nemo", config)
        nemo_models.save_vocoder(folder / "english", nemo_models.small_vocoder_config())
        nemo_models.save_vocoder(
            folder / "full", nemo_models.small_vocoder_config(fmax=None), folded=True
        )
    return folder


@pytest.fixture(scope="module")
def fastpitch_engine(fastpitch_files: Path) -> Iterator[FastPitchEngine]:
    """An English voice by phonemes, one of another model by its third speaker, a Vietnamese one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        engine = FastPitchEngine(fastpitch_sources(fastpitch_files), device="cpu", threads=1)
        engine.load()
    yield engine
    engine.close()


def fastpitch_sources(folder: Path) -> list[FastPitchSource]:
    def source(id: str, model: str, vocoder: str, language: str, speaker: int) -> FastPitchSource:
        paths = str(folder / f"{model}.nemo"), str(folder / vocoder)
        return FastPitchSource(id, id.title(), *paths, language, "none", speaker=speaker)

    return [
        source("arpabet", "arpabet", "english", "en-US", 0),
        source("ipa", "ipa", "english", "en-US", 2),
        source("vietnamese", "vietnamese", "full", "vi-VN", 0),
    ]


@pytest.fixture(scope="module")
def fastpitch_onnx_engine(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[FastPitchOnnxEngine]:
    """A voice that reads letters, whose networks are built by hand."""
    folder = write_small_voice(tmp_path_factory.mktemp("exported"))
    engine = FastPitchOnnxEngine([ExportedSource("small", "Small", folder, "en-US", "none")])
    engine.load()
    yield engine
    engine.close()
