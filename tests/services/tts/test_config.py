"""The shipped configuration is valid, says what the defaults say, and can be overridden."""

import pytest

from services.shared.runtime.config import ConfigError
from services.tts.config import DEFAULT_CONFIG, TtsConfig
from services.tts.engines.fake import FakeEngine


def test_the_shipped_file_says_what_the_code_does() -> None:
    assert TtsConfig.load(DEFAULT_CONFIG).model_dump() == TtsConfig().model_dump()


def test_the_file_for_gpus_is_valid_for_either_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    path = DEFAULT_CONFIG.with_name("config.gpu.yaml")
    engines = TtsConfig.load(path).engines
    assert [name for name, section in engines if section.enabled] == ["chatterbox"]
    assert engines.chatterbox.in_own_process
    assert engines.fastpitch.in_own_process
    monkeypatch.setenv("TTS__ENGINES__CHATTERBOX__ENABLED", "false")
    monkeypatch.setenv("TTS__ENGINES__FASTPITCH__ENABLED", "true")
    engines = TtsConfig.load(path).engines
    assert [name for name, section in engines if section.enabled] == ["fastpitch"]
    assert {voice.language for voice in engines.fastpitch.voices} == {"en-US", "vi-VN"}


def test_the_environment_overrides_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTS__ENGINES__PIPER__THREADS", "4")
    monkeypatch.setenv("TTS__ENGINES__FAKE__ENABLED", "true")
    config = TtsConfig.load(DEFAULT_CONFIG)
    assert config.engines.piper.threads == 4
    assert config.engines.piper.voices[0].id == "joe"
    assert config.engines.fake.enabled


@pytest.mark.parametrize("name", ["TTS__TEXT__SEGMENT_CHARACTER", "TTS__VOICES__DEFAULTS"])
def test_a_misspelt_key_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "5")
    with pytest.raises(ConfigError, match=name.split("__")[-1].lower()):
        TtsConfig.load(DEFAULT_CONFIG)


def test_segments_are_no_longer_than_every_engine_takes() -> None:
    config = TtsConfig()
    assert config.session_options().segment_characters == 280
    few = FakeEngine(max_characters=120).capabilities
    assert config.session_options(few, FakeEngine().capabilities).segment_characters == 120
