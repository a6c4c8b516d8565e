"""Configuration: what wins over what, and a sentence for every mistake."""

from pathlib import Path

import pytest
from pydantic import ValidationError
from pydantic_settings import SettingsConfigDict

from services.shared.runtime.config import ConfigError, ServiceSettings, StrictConfig


class Kitchen(StrictConfig):
    pots: int = 3
    herbs: tuple[str, ...] = ("basil",)


class InnConfig(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="INN__")

    kitchen: Kitchen = Kitchen()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "inn.yaml"
    path.write_text("server: {host: 127.0.0.9, port: 7}\nkitchen: {pots: 5}\n", encoding="utf-8")
    return path


def complaint(path: Path | None) -> str:
    with pytest.raises(ConfigError) as caught:
        InnConfig.load(path)
    return str(caught.value)


def test_the_defaults_hold_without_a_file() -> None:
    config = InnConfig.load(None)
    assert (config.kitchen.pots, config.server.host) == (3, "127.0.0.1")


def test_the_file_wins_over_the_defaults(file: Path) -> None:
    config = InnConfig.load(file)
    assert (config.server.host, config.server.port) == ("127.0.0.9", 7)
    assert config.kitchen == Kitchen(pots=5)
    assert config.limits == InnConfig().limits


def test_the_environment_wins_over_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INN__SERVER__PORT", "8")
    monkeypatch.setenv("INN__KITCHEN__HERBS", '["thyme", "sage"]')
    config = InnConfig.load(file)
    assert (config.server.host, config.server.port) == ("127.0.0.9", 8)
    assert config.kitchen == Kitchen(pots=5, herbs=("thyme", "sage"))


def test_an_argument_wins_over_all(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INN__KITCHEN__POTS", "8")
    assert InnConfig.load(file, kitchen=Kitchen(pots=9)).kitchen.pots == 9


def test_two_files_do_not_meet(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text("kitchen: {pots: 6}", encoding="utf-8")
    assert [InnConfig.load(path).kitchen.pots for path in (file, other, file)] == [5, 6, 5]


def test_nothing_can_be_changed_later() -> None:
    config = InnConfig.load(None)
    with pytest.raises(ValidationError, match="frozen"):
        config.kitchen = Kitchen()
    with pytest.raises(ValidationError, match="frozen"):
        config.kitchen.pots = 4


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "nowhere.yaml does not exist" in complaint(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kitchn: {pots: 1}", 'unknown field "kitchn"'),
        ("kitchen: {pot: 1}", 'unknown field "kitchen.pot"'),
        ("kitchen: {pots: many}", 'field "kitchen.pots"'),
        ("kitchen: 3", 'field "kitchen"'),
        ("kitchen:", 'field "kitchen"'),
        ("server: {port: 99999}", 'field "server.port"'),
        ("limits: {idle_s: .nan}", 'field "limits.idle_s"'),
        ("kitchen: [", "no YAML file"),
        ("- a\n- b", "no YAML file"),
        ("only words", "no YAML file"),
        ("!!python/object/apply:os.system ['true']", "no YAML file"),
    ],
)
def test_a_mistake_in_the_file_is_told(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "inn.yaml"
    path.write_text(text, encoding="utf-8")
    message = complaint(path)
    assert said in message
    assert "inn.yaml" in message


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    path = tmp_path / "inn.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    assert "inn.yaml" in complaint(path)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("INN__KITCHEN__POT", "1", 'unknown field "kitchen.pot"'),
        ("INN__KITCHN__POTS", "1", "INN__KITCHN__POTS: no section 'kitchn'"),
        ("INN__KITCHEN__POTS", "many", 'field "kitchen.pots"'),
        ("INN__KITCHEN__HERBS", "thyme", "the environment"),
        ("INN__KITCHEN", "thyme", "the environment"),
    ],
)
def test_a_mistake_in_the_environment_is_told(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    assert said in complaint(None)


def test_other_variables_are_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INN", "1")
    monkeypatch.setenv("INNKEEPER__X", "1")
    assert InnConfig.load(None).kitchen == Kitchen()
