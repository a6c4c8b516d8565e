"""Configuration: one YAML file a service, overridden by environment variables, frozen and strict.

`ASR__SERVER__PORT=9001` overrides `server.port` of the ASR service. Secrets never stand in the
YAML: `server.keys_file` names a file, or `ASR__SERVER__API_KEYS` holds a JSON list.
"""

import os
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    YamlConfigSettingsSource,
)
from yaml import YAMLError

from services.shared.protocol.codec import describe
from services.shared.runtime.origins import checked_origin

Port = Annotated[int, Field(ge=0, le=65535)]
PositiveMs = Annotated[int, Field(gt=0, le=3_600_000)]


class ConfigError(Exception):
    """The configuration cannot be used; the sentence names the file and every wrong key."""


class StrictConfig(BaseModel):
    """Base of all configuration sections: immutable, unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ServerConfig(StrictConfig):
    """Where a service listens and who may talk to it."""

    host: str = "127.0.0.1"
    port: Port = 0
    keys_file: Path | None = None
    """A file made by `voice keys`: keys with scopes, limits and owners, without their secrets."""
    token_secret_file: Path | None = None
    """A secret of `voice keys secret`, the same on all instances: tokens are signed with it."""
    api_keys: tuple[SecretStr, ...] = ()
    """Keys that may do everything; by environment only. No keys at all: none is asked for."""
    api_keys_file: Path | None = None
    """A file with one such key a line (`#` starts a comment)."""
    allow_unauthenticated: bool = False
    """Permit a non-loopback bind without keys (behind a firewall or a proxy that checks them)."""
    open_metrics: bool | None = None
    """Whether `/metrics` needs no key. None: only where nobody but this machine can connect."""
    allowed_origins: tuple[Annotated[str, AfterValidator(checked_origin)], ...] = ()
    """Whose web pages may use the service beside its own: `https://app.example`, or `*`."""
    tls_cert: Path | None = None
    """Certificate chain, PEM; with it the service speaks https and wss itself. May be renewed."""
    tls_key: Path | None = None
    drain_s: float = Field(default=30.0, ge=0, le=3600)
    """After SIGTERM live sessions get this long to finish."""

    @model_validator(mode="after")
    def _whole_pair(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key go together")
        return self


class LimitsConfig(StrictConfig):
    """What one client may ask of a service."""

    max_sessions: int = Field(default=100, ge=1, le=10_000)
    """A bound of memory and descriptors: what can be served in time is measured by admission. Big
    enough for the callers of an instance that died, beside one's own."""
    max_message_bytes: int = Field(default=1 << 20, ge=1024, le=64 << 20)
    """Largest WebSocket message."""
    max_messages_per_s: int = Field(default=400, ge=10, le=100_000)
    """Mean rate over a few seconds; a 20 ms phone frame is 50 a second."""
    idle_s: float = Field(default=60.0, gt=0, le=86_400)
    """A session that sends nothing for so long is closed."""
    session_s: float = Field(default=4 * 3600.0, gt=0, le=7 * 86_400)
    send_s: float = Field(default=10.0, gt=0, le=600)
    """A client that does not read for so long is cut off."""
    dead_s: float = Field(default=40.0, gt=0, le=3600)
    """A client that answers no ping for so long is taken for gone; keep it below `idle_s`."""
    outbox_messages: int = Field(default=512, ge=8, le=65_536)
    """Messages waiting for a slow reader before the producer is held back."""


class LogConfig(StrictConfig):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "console"] = "console"
    content: bool = False
    """Also what was said and spoken, and sentences that quote what clients sent. Audio never is."""


class TracingConfig(StrictConfig):
    """OpenTelemetry traces; off until an endpoint is named."""

    endpoint: Annotated[str, Field(pattern=r"^https?://\S+$")] | None = None
    """Of a collector that takes OTLP over HTTP: `http://127.0.0.1:4318`. Without: no traces."""
    sample: float = Field(default=1.0, ge=0, le=1)
    """Share of the traces that begin here and are kept."""
    trust_parent: bool = False
    """Be a part of the trace of whoever sends a `traceparent`, who decides then what is kept."""


class ServiceSettings(BaseSettings):
    """Base of a service's whole configuration, with the sections that every service has."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_nested_delimiter="__",
        nested_model_default_partial_update=True,
    )
    yaml_path: ClassVar[Path | None] = None

    server: ServerConfig = ServerConfig()
    limits: LimitsConfig = LimitsConfig()
    log: LogConfig = LogConfig()
    tracing: TracingConfig = TracingConfig()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        sources: list[PydanticBaseSettingsSource] = [init_settings, env_settings]
        if cls.yaml_path is not None:
            sources.append(YamlConfigSettingsSource(settings_cls, yaml_file=cls.yaml_path))
        return tuple(sources)

    @classmethod
    def load(cls, path: Path | None, **overrides: Any) -> Self:
        """Read `path` (or only the defaults), then the environment, then `overrides`.

        Raises:
            ConfigError: for a missing file, bad YAML, an unknown key or a value out of range.
        """
        if path is not None and not path.is_file():
            raise ConfigError(f"configuration file {path} does not exist")
        bound: type[Self] = type(
            cls.__name__, (cls,), {"yaml_path": path, "__module__": cls.__module__}
        )
        cls._refuse_unknown_variables()
        try:
            return bound(**overrides)
        except ValidationError as error:
            where = path or "the environment"
            raise ConfigError(f"{where} or its overrides: {describe(error, limit=10)}") from None
        except SettingsError as error:
            raise ConfigError(f"the environment: {error}; lists and sections are JSON") from None
        except (YAMLError, ValueError, TypeError, OSError) as error:
            raise ConfigError(f"{path} is no YAML file of sections: {error}") from None

    @classmethod
    def _refuse_unknown_variables(cls) -> None:
        """A mistyped section in the environment would otherwise change nothing, silently."""
        prefix = cls.model_config.get("env_prefix", "").lower()
        delimiter = cls.model_config.get("env_nested_delimiter") or "__"
        for name in os.environ:
            if prefix and name.lower().startswith(prefix):
                section = name.lower().removeprefix(prefix).split(delimiter, 1)[0]
                if section not in cls.model_fields:
                    known = ", ".join(cls.model_fields)
                    raise ConfigError(f"{name}: no section {section!r}; there are {known}")
