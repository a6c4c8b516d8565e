"""Configuration: one YAML file, overridden by environment variables, frozen and strict.

`TWILIO__CALLS__MAX_CALLS=4` overrides `calls.max_calls`. The account's auth token never stands in
the YAML: `TWILIO__ACCOUNT__AUTH_TOKEN` holds it, or `account.auth_token_file` names a file.
"""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, HttpUrl, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from examples.voice_agent.agents_config import AgentsConfig
from examples.voice_agent.logs import LogConfig
from examples.voice_agent.yaml_settings import YamlSettings, load_file, read_secret

DEFAULT_CONFIG = Path(__file__).with_name("config.yaml")

_TARGET = re.compile(r"\+[0-9]{4,15}|sips?:[A-Za-z0-9._~%+-]{1,64}@[A-Za-z0-9.:-]{1,128}")
Seconds = Annotated[float, Field(gt=0, le=3600)]


class Strict(BaseModel):
    """Base of all sections: immutable, unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ServerConfig(Strict):
    """Where Twilio finds us."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8030
    public_url: HttpUrl
    """What Twilio reaches, by a proxy with TLS or a tunnel; its requests are signed with it."""

    @model_validator(mode="after")
    def _is_reachable(self) -> Self:
        url = self.public_url
        if url.scheme != "https":
            raise ValueError("public_url must be https: Twilio streams to wss only")
        if url.query or url.fragment:
            raise ValueError("public_url has a query: Twilio passes none on")
        return self

    def address(self, path: str) -> str:
        """Of one of ours, as Twilio knows it."""
        return str(self.public_url).rstrip("/") + path

    def stream_address(self, path: str) -> str:
        return "wss" + self.address(path).removeprefix("https")


class AccountConfig(Strict):
    """Whose calls these are."""

    auth_token: SecretStr = SecretStr("")
    auth_token_file: Path | None = None
    """Without either no request could be told from a forged one, so the program does not start."""


class AudioConfig(Strict):
    lead_ms: int = Field(default=160, ge=40, le=2000)
    """Audio that Twilio gets ahead of time, against hiccups of the way. It is still heard when the
    agent pauses: Twilio knows no pause."""
    buffer_ms: int = Field(default=4000, ge=100, le=60_000)
    """Audio that may be sent ahead of its playing before `send_audio` waits."""
    inbox_ms: int = Field(default=2000, ge=100, le=60_000)
    """Audio of the caller that may wait for a slow reader before the oldest is dropped."""


class CallsConfig(Strict):
    """Which calls are taken, and what becomes of them."""

    max_calls: int = Field(default=10, ge=0, le=1000)
    """Further callers hear that the line is busy, or are put through to `fallback`."""
    max_late_ms: int = Field(default=250, ge=0, le=10_000)
    """As do those that come while our event loop is late by so much. 0: never mind."""
    stream_s: Seconds = 10.0
    """For Twilio to open the stream of a call that was accepted."""
    max_call_s: float = Field(default=3600.0, gt=0, le=86_400)
    """No call is longer; the conversation's own limit should be shorter, and polite."""
    goodbye_s: Seconds = 5.0
    """After a hang-up the conversation gets this long to put its things in order."""
    drain_s: float = Field(default=30.0, ge=0, le=3600)
    """After SIGTERM calls get this long to end; what is left then goes to the fallback."""
    numbers: dict[str, str] = Field(default_factory=dict)
    """What agents call a target, e.g. "2000", and the number (+15551234567) or SIP address that it
    stands for."""
    fallback: str | None = None
    """Who takes the calls that cannot be served: a number, a SIP address, a name of `numbers`."""
    sorry: str = "I am sorry, we cannot take your call right now. Please call again later."
    """Twilio says this to callers who cannot be served when there is no `fallback`."""
    sorry_language: str = "en-US"

    @model_validator(mode="after")
    def _leads_somewhere(self) -> Self:
        for name in (*self.numbers, *filter(None, [self.fallback])):
            self.number_of(name)
        return self

    def number_of(self, target: str) -> str:
        """What Twilio dials.

        Raises:
            ValueError: neither a name of `numbers` nor something that can be dialled.
        """
        number = self.numbers.get(target, target)
        if not _TARGET.fullmatch(number):
            raise ValueError(f"calls.numbers leads {target!r} to no number like +15551234567")
        return number


class TwilioConfig(YamlSettings):
    """The whole configuration."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix="TWILIO__", env_nested_delimiter="__"
    )

    server: ServerConfig
    account: AccountConfig = AccountConfig()
    audio: AudioConfig = AudioConfig()
    calls: CallsConfig = CallsConfig()
    agents: AgentsConfig = AgentsConfig()
    log: LogConfig = LogConfig()


def load_config(path: Path | None = None) -> TwilioConfig:
    """The configuration in `path` (or `$TWILIO_CONFIG`, or `config.yaml` beside this file).

    Raises:
        ConfigError: what is wrong, and where.
    """
    path = path or Path(os.environ.get("TWILIO_CONFIG", "") or DEFAULT_CONFIG)
    return load_file(TwilioConfig, path, _with_token)


def _with_token(config: TwilioConfig) -> TwilioConfig:
    account = config.account
    if account.auth_token.get_secret_value():
        return config
    if account.auth_token_file is None:
        raise ValueError(
            "there is no auth token: set TWILIO__ACCOUNT__AUTH_TOKEN or account.auth_token_file "
            "(Twilio's console shows it)"
        )
    token = read_secret(account.auth_token_file, "account.auth_token_file")
    update: dict[str, Any] = {"auth_token": SecretStr(token)}
    return config.model_copy(update={"account": account.model_copy(update=update)})
