"""What the store, the API and `voice agent` are told: one YAML file, overridden by environment
variables, such as `VOICE_AGENT__STORE__URL`."""

import os
from pathlib import Path

from pydantic import SecretStr
from pydantic_settings import SettingsConfigDict

from examples.voice_agent.api.config import ApiConfig
from examples.voice_agent.endpoints import SpeechServices
from examples.voice_agent.store.config import StoreConfig
from examples.voice_agent.store.errors import StoreError
from examples.voice_agent.yaml_settings import YamlSettings, read_settings

DEFAULT_FILE = Path("voice-agent.yaml")


class AgentSettings(YamlSettings):
    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix="VOICE_AGENT__", env_nested_delimiter="__"
    )

    instance: str = "agent"
    """Names this process among those that share the database; the same after a restart."""
    asr_url: str = "http://127.0.0.1:8001"
    tts_url: str = "http://127.0.0.1:8002"
    asr_key: SecretStr | None = None
    """By environment only, as VOICE_AGENT__ASR_KEY; where the service asks for one."""
    tts_key: SecretStr | None = None
    store: StoreConfig = StoreConfig()
    api: ApiConfig = ApiConfig()

    def services(self) -> SpeechServices:
        """Where calls find the services, with the keys for them."""
        keys = (key.get_secret_value() if key else None for key in (self.asr_key, self.tts_key))
        return SpeechServices(_socket(self.asr_url), _socket(self.tts_url), *keys)


def load_settings(file: Path | None = None) -> AgentSettings:
    """From `file`, `$VOICE_AGENT_CONFIG`, or `voice-agent.yaml` here; without one, the defaults.

    Raises:
        StoreError: what is wrong, and where.
    """
    named = file or (Path(os.environ["VOICE_AGENT_CONFIG"]) if _is_named() else None)
    path = named or DEFAULT_FILE
    if named is not None and not named.is_file():
        raise StoreError(f"there is no configuration at {named}")
    try:
        return read_settings(AgentSettings, path)
    except ValueError as error:
        raise StoreError(str(error)) from None


def _socket(url: str) -> str:
    """`http://host` → `ws://host`, and the same with s."""
    return f"ws{url.removeprefix('http')}".rstrip("/") if url.startswith("http") else url


def _is_named() -> bool:
    return bool(os.environ.get("VOICE_AGENT_CONFIG"))
