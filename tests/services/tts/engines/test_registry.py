"""Engines come from a closed list, with errors that say what to do."""

from pathlib import Path

import pytest

from services.shared.models.errors import ModelError
from services.shared.models.store import ModelStore
from services.tts.config import JOE, EnginesConfig, FakeEngineConfig, PiperEngineConfig
from services.tts.engines.base import EngineUnavailable
from services.tts.engines.registry import create_engines

NO_PIPER = PiperEngineConfig(enabled=False)


def test_enabled_engines_are_made(tmp_path: Path) -> None:
    config = EnginesConfig(piper=NO_PIPER, fake=FakeEngineConfig(enabled=True))
    [engine] = create_engines(config, ModelStore(tmp_path))
    assert engine.name == "fake"


def test_a_service_without_engines_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match="no engine is enabled; .* piper, fake"):
        create_engines(EnginesConfig(piper=NO_PIPER), ModelStore(tmp_path))


def test_a_missing_catalogue_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=JOE.model):
        create_engines(EnginesConfig(), ModelStore(tmp_path))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    voice = JOE.model_copy(update={"model": str(tmp_path / "own.onnx")})
    config = EnginesConfig(piper=PiperEngineConfig(voices=(voice,)))
    with pytest.raises(EngineUnavailable, match=r"own\.onnx does not exist"):
        create_engines(config, ModelStore(tmp_path))
