from pathlib import Path

import pytest

from services.asr.config import DEFAULT_CONFIG, AsrConfig
from services.asr.engines.base import Capabilities
from services.asr.messages import TurnMode
from services.shared.models.catalogue import load_catalogue
from services.shared.runtime.config import ConfigError


def write(folder: Path, text: str) -> Path:
    path = folder / "asr.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_file_in_use_says_what_the_code_says() -> None:
    """A key that is left out of config.yaml means the same as one that stands there."""
    assert AsrConfig.load(DEFAULT_CONFIG).model_dump() == AsrConfig().model_dump()


def test_a_file_changes_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    config = AsrConfig.load(write(tmp_path, "engine:\n  model: whisper-base\n"))
    assert config.engine.model == "whisper-base"
    assert config.engine.compute_type == "int8"
    assert config.server.port == 8001


def test_what_is_given_up_is_given_up_in_order(tmp_path: Path) -> None:
    section = "admission:\n  finals_only_late_ms: 3000\n"
    with pytest.raises(ConfigError, match="sparse_late_ms <= finals_only_late_ms"):
        AsrConfig.load(write(tmp_path, section))
    limits = AsrConfig.load(write(tmp_path, section + "  refuse_late_ms: 4000\n")).admission.limits
    assert (limits.sparse_s, limits.finals_only_s, limits.refuse_s) == (0.5, 3.0, 4.0)


def test_the_profile_for_gpus_names_a_model_that_can_be_fetched() -> None:
    config = AsrConfig.load(DEFAULT_CONFIG.with_name("config.gpu.yaml"))
    assert config.engine.device == "cuda"
    assert load_catalogue().get(config.engine.model).kind == "asr"


def test_the_environment_goes_before_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, "server:\n  port: 9000\n  drain_s: 5\n")
    monkeypatch.setenv("ASR__SERVER__PORT", "9001")
    monkeypatch.setenv("ASR__TURN__MODE", "manual")
    monkeypatch.setenv("ASR__TURN__JUDGE_MS", "[100, 300]")
    monkeypatch.setenv("ASR__SERVER__API_KEYS", '["a-secret"]')
    config = AsrConfig.load(path)
    assert (config.server.port, config.server.drain_s) == (9001, 5)
    assert config.turn.mode is TurnMode.MANUAL
    assert config.turn.judge_ms == (100, 300)
    assert "a-secret" not in repr(config)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("enigne:\n  name: fake\n", ['"enigne"']),
        ("engine:\n  modell: x\n", ['"engine.modell"']),
        ("engine:\n  name: kaldi\n", ["engine.name", "faster_whisper"]),
        ("turn:\n  threshold: 2\n", ["turn.threshold"]),
        ("server:\n  port: 70000\n", ["server.port"]),
        ("upload:\n  max_bytes: lots\n", ["upload.max_bytes", "integer"]),
        ("turn: smart\n", ["turn"]),
        ("server: [\n", ["asr.yaml"]),
    ],
)
def test_a_mistake_is_named_with_its_file(tmp_path: Path, text: str, parts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        AsrConfig.load(write(tmp_path, text))
    for part in [*parts, "asr.yaml"]:
        assert part in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        AsrConfig.load(tmp_path / "nowhere.yaml")


def test_sessions_get_what_the_operator_chose() -> None:
    config = AsrConfig.model_validate(
        {
            "turn": {"mode": "silence", "silence_ms": 700, "max_silence_ms": 1500},
            "vad": {"start_ms": 64, "pre_roll_ms": 300},
            "partials": {"every_ms": 500, "after_ms": 600},
        }
    )
    can = Capabilities("fake", ("en", "vi"), max_seconds=30.0, word_timestamps=True, max_batch=1)
    options = config.session_options(can)
    assert options.languages == ("en", "vi")
    assert options.endpointing.mode is TurnMode.SILENCE
    assert options.endpointing.limit_ms == 700
    assert (options.endpointing.start_ms, options.endpointing.pre_roll_ms) == (64, 300)
    assert (options.partial_every_ms, options.partial_after_ms) == (500, 600)
    assert (options.segment_ms, options.streaming) == (28_000, False)


def test_segments_are_as_long_as_a_streaming_engine_likes() -> None:
    can = Capabilities(
        "cloud", ("en",), max_seconds=60.0, word_timestamps=True, max_batch=1, streaming=True
    )
    options = AsrConfig().session_options(can)
    assert (options.segment_ms, options.commit_ms, options.streaming) == (58_000, 29_000, True)


@pytest.mark.parametrize("names", [["google"], ["google", "google"], ["kaldi", "fake"]])
def test_a_ladder_of_engines_has_several(names: list[str]) -> None:
    with pytest.raises(ValueError, match="failover"):
        AsrConfig.model_validate({"engine": {"failover": names}})
