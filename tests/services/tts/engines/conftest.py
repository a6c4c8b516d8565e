"""Engines that several test files share."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.tts.engines.chatterbox.engine import ChatterboxEngine, ChatterboxSource
from services.tts.engines.chatterbox.guard import TokenBudget


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
