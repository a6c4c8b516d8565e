"""The configuration is strict, and its mistakes are named."""

from pathlib import Path

import pytest

from examples.asterisk_bridge.bridge import load_conversation
from examples.asterisk_bridge.config import BridgeConfig, load_config
from examples.asterisk_bridge.echo import converse
from examples.voice_agent.yaml_settings import ConfigError


def written(folder: Path, text: str) -> Path:
    path = folder / "bridge.yaml"
    path.write_text(text)
    return path


def test_the_file_beside_the_program_is_valid() -> None:
    config = load_config()
    assert config.ari.app == "va"
    assert config.model_dump() == BridgeConfig().model_dump()


def test_a_conversation_is_found_by_its_name() -> None:
    assert load_conversation("examples.asterisk_bridge.echo:converse") is converse


def test_the_environment_overrides_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRIDGE__CALLS__MAX_CALLS", "4")
    monkeypatch.setenv("BRIDGE__ARI__PASSWORD", "secret")
    config = load_config(written(tmp_path, "calls: {max_calls: 9, drain_s: 1}"))
    assert (config.calls.max_calls, config.calls.drain_s) == (4, 1)
    assert config.ari.password.get_secret_value() == "secret"
    assert "secret" not in repr(config)


def test_the_password_may_lie_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("hidden\n")
    config = load_config(written(tmp_path, f"ari: {{password_file: {tmp_path / 'password'}}}"))
    assert config.ari.password.get_secret_value() == "hidden"


@pytest.mark.parametrize(
    "text, named",
    [
        ("calls: {max_cals: 1}", "calls.max_cals"),
        ("media: {kind: rtp, format: slin}", "choose ulaw, alaw or slin16"),
        ("media: {kind: audiosocket}", "media.kind"),
        ("ari: {password_file: /nowhere/at/all}", "password_file"),
        ("ari: [", "bridge.yaml"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        load_config(written(tmp_path, text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no configuration at"):
        load_config(tmp_path / "none.yaml")


@pytest.mark.parametrize("name", ["no.such.module:x", "examples.asterisk_bridge.echo:x", "x", ""])
def test_a_missing_conversation_is_named(name: str) -> None:
    with pytest.raises(ConfigError, match="conversation.factory"):
        load_conversation(name)
