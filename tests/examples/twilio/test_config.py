"""The configuration is strict, and its mistakes are named."""

from pathlib import Path

import pytest

from examples.twilio.config import load_config
from examples.voice_agent.yaml_settings import ConfigError

URL = "server: {public_url: 'https://calls.example.com'}"


def written(folder: Path, text: str) -> Path:
    path = folder / "twilio.yaml"
    path.write_text(text)
    return path


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWILIO__ACCOUNT__AUTH_TOKEN", "only-for-tests")


def test_the_file_beside_the_program_lacks_only_the_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ConfigError, match=r"server\.public_url: Field required"):
        load_config()
    monkeypatch.setenv("TWILIO__SERVER__PUBLIC_URL", "https://calls.example.com/voice/")
    server = load_config().server
    assert server.address("/twilio/voice") == "https://calls.example.com/voice/twilio/voice"
    assert server.stream_address("/s") == "wss://calls.example.com/voice/s"


def test_the_token_may_lie_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TWILIO__ACCOUNT__AUTH_TOKEN")
    with pytest.raises(ConfigError, match="no auth token"):
        load_config(written(tmp_path, URL))
    (tmp_path / "token").write_text("hidden\n")
    named = f"{URL}\naccount: {{auth_token_file: {tmp_path / 'token'}}}"
    config = load_config(written(tmp_path, named))
    assert config.account.auth_token.get_secret_value() == "hidden"
    assert "hidden" not in repr(config)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("server: {public_url: 'http://calls.example.com'}", "must be https"),
        ("server: {public_url: 'https://calls.example.com/?a=b'}", "no query|none on"),
        (f"{URL}\ncalls: {{max_cals: 1}}", r"calls\.max_cals"),
        (f"{URL}\ncalls: {{fallback: '2000'}}", "'2000' to no number"),
        (f"{URL}\ncalls: {{numbers: {{desk: '2000'}}}}", "'desk' to no number"),
        (f"{URL}\naccount: {{auth_token_file: [secret-in-a-list]}}", r"account\.auth_token_file"),
        (f"{URL}\naccount: [", "twilio.yaml"),
        ("a sentence", "twilio.yaml"),
        ("8030: here", "twilio.yaml"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named) as caught:
        load_config(written(tmp_path, text))
    assert "secret-in-a-list" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no configuration at"):
        load_config(tmp_path / "none.yaml")


def test_targets_are_names_or_numbers(tmp_path: Path) -> None:
    text = f"{URL}\ncalls: {{numbers: {{'2000': '+15550122', desk: 'sip:desk@example.com'}}}}"
    calls = load_config(written(tmp_path, text)).calls
    assert calls.number_of("2000") == "+15550122"
    assert calls.number_of("desk") == "sip:desk@example.com"
    assert calls.number_of("+15550177") == "+15550177"
    for nobody in ("3000", "", "sip:", "+1<Dial>", "https://evil.example"):
        with pytest.raises(ValueError):
            calls.number_of(nobody)
