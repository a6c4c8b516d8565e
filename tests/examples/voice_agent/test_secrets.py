"""Agents name their secrets, but not everybody's."""

import pytest

from examples.voice_agent.secrets import SecretError, named_secrets, read_secret


def test_a_secret_for_agents_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOICE_AGENT_SECRET_LLM", " s3cret\n")
    assert read_secret("VOICE_AGENT_SECRET_LLM") == "s3cret"


def test_one_that_is_not_set_is_asked_for() -> None:
    with pytest.raises(SecretError, match="set VOICE_AGENT_SECRET_NONE in the environment"):
        read_secret("VOICE_AGENT_SECRET_NONE")


def test_any_other_is_refused_and_the_way_out_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "s3cret")
    with pytest.raises(SecretError, match="VOICE_AGENT_SECRET_OPENAI_API_KEY") as refusal:
        read_secret("OPENAI_API_KEY")
    assert "s3cret" not in str(refusal.value)
    monkeypatch.setenv("VOICE_AGENT_SECRETS", "OTHER, OPENAI_API_KEY")
    assert read_secret("OPENAI_API_KEY") == "s3cret"


def test_the_names_in_a_configuration_are_found_at_any_depth() -> None:
    config = {
        "llm": {"api_key_env": "A", "fallbacks": [{"api_key_env": "B"}, {"api_key_env": None}]},
        "tool_settings": {"lookup": {"crm": {"secret_env": "C", "auth": "bearer"}}},
        "keys": "no_env",
    }
    assert list(named_secrets(config)) == ["A", "B", "C"]
