"""What the store, the API and `voice agent` are told: one YAML file, overridden by environment
variables, such as `VOICE_AGENT__STORE__URL`."""

import os
from pathlib import Path
from typing import ClassVar

from pydantic import SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    YamlConfigSettingsSource,
)
from yaml import YAMLError

from examples.voice_agent.api.config import ApiConfig
from examples.voice_agent.endpoints import SpeechServices
from examples.voice_agent.store.config import StoreConfig
from examples.voice_agent.store.errors import StoreError
from services.shared.protocol.codec import describe

DEFAULT_FILE = Path("voice-agent.yaml")


class AgentSettings(BaseSettings):
    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix="VOICE_AGENT__", env_nested_delimiter="__"
    )
    _file: ClassVar[Path | None] = None

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

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, YamlConfigSettingsSource(settings_cls, cls._file)


def load_settings(file: Path | None = None) -> AgentSettings:
    """From `file`, `$VOICE_AGENT_CONFIG`, or `voice-agent.yaml` here; without one, the defaults.

    Raises:
        StoreError: what is wrong, and where.
    """
    named = file or (Path(os.environ["VOICE_AGENT_CONFIG"]) if _is_named() else None)
    path = named or DEFAULT_FILE
    if named is not None and not named.is_file():
        raise StoreError(f"there is no configuration at {named}")
    configured = type("AgentSettings", (AgentSettings,), {"_file": path})
    try:
        settings: AgentSettings = configured()
    except ValidationError as error:
        raise StoreError(f"{path}: {describe(error)}") from None
    except (YAMLError, SettingsError, OSError) as error:
        raise StoreError(f"{path}: {error}") from None
    return settings


def _socket(url: str) -> str:
    """`http://host` → `ws://host`, and the same with s."""
    return f"ws{url.removeprefix('http')}".rstrip("/") if url.startswith("http") else url


def _is_named() -> bool:
    return bool(os.environ.get("VOICE_AGENT_CONFIG"))
