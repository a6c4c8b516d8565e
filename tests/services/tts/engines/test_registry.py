"""Engines come from a closed list, with errors that say what to do."""

from pathlib import Path

import pytest

from services.shared.models.errors import ModelError
from services.shared.models.store import ModelStore
from services.tts.config import (
    HEART,
    JOE,
    ChatterboxEngineConfig,
    EngineConfig,
    EnginesConfig,
    FakeEngineConfig,
    FastPitchEngineConfig,
    FastPitchOnnxEngineConfig,
    KokoroEngineConfig,
    PiperEngineConfig,
)
from services.tts.engines.base import EngineUnavailable
from services.tts.engines.registry import create_engines

NO_PIPER = PiperEngineConfig(enabled=False)


def test_enabled_engines_are_made(tmp_path: Path) -> None:
    config = EnginesConfig(piper=NO_PIPER, fake=FakeEngineConfig(enabled=True))
    [engine] = create_engines(config, ModelStore(tmp_path))
    assert engine.name == "fake"


def test_a_service_without_engines_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match="no engine is enabled; .* piper, kokoro, fake"):
        create_engines(EnginesConfig(piper=NO_PIPER), ModelStore(tmp_path))


def test_a_missing_catalogue_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=JOE.model):
        create_engines(EnginesConfig(), ModelStore(tmp_path))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    voice = JOE.model_copy(update={"model": str(tmp_path / "own.onnx")})
    config = EnginesConfig(piper=PiperEngineConfig(voices=(voice,)))
    with pytest.raises(EngineUnavailable, match=r"own\.onnx does not exist"):
        create_engines(config, ModelStore(tmp_path))


@pytest.mark.parametrize(
    ("styles", "told"),
    [
        ("af_nobody", "no voice 'af_nobody'; kokoro-voices has af_bella, af_heart"),
        ("/nowhere/own.bin", r"own\.bin does not exist"),
    ],
)
def test_an_unknown_kokoro_voice_lists_the_known_ones(
    tmp_path: Path, styles: str, told: str
) -> None:
    voice = HEART.model_copy(update={"styles": styles})
    config = EnginesConfig(piper=NO_PIPER, kokoro=KokoroEngineConfig(enabled=True, voices=(voice,)))
    with pytest.raises(EngineUnavailable, match=told):
        create_engines(config, ModelStore(tmp_path))


def test_a_missing_kokoro_model_is_named(tmp_path: Path) -> None:
    config = EnginesConfig(piper=NO_PIPER, kokoro=KokoroEngineConfig(enabled=True))
    with pytest.raises(ModelError, match="kokoro"):
        create_engines(config, ModelStore(tmp_path))


@pytest.mark.parametrize(
    ("section", "isolated"),
    [
        (PiperEngineConfig(), False),
        (PiperEngineConfig(isolated=True), True),
        (ChatterboxEngineConfig(), True),
        (ChatterboxEngineConfig(device="cpu"), False),
        (ChatterboxEngineConfig(isolated=False), False),
        (FastPitchEngineConfig(), True),
        (FastPitchEngineConfig(device="cpu"), False),
        (FastPitchOnnxEngineConfig(), False),
    ],
)
def test_engines_that_may_run_on_cuda_get_a_process_of_their_own(
    section: EngineConfig, isolated: bool
) -> None:
    assert section.in_own_process is isolated
