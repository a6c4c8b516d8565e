"""Configuration: one YAML file, overridden by environment variables, frozen and strict.

`BRIDGE__CALLS__MAX_CALLS=4` overrides `calls.max_calls`. The ARI password never stands in the YAML:
`BRIDGE__ARI__PASSWORD` holds it, or `ari.password_file` names a file.
"""

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, HttpUrl, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from examples.voice_agent.agents_config import AgentsConfig
from examples.voice_agent.logs import LogConfig
from examples.voice_agent.yaml_settings import YamlSettings, load_file, read_secret

DEFAULT_CONFIG = Path(__file__).with_name("config.yaml")

Seconds = Annotated[float, Field(gt=0, le=3600)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,39}$")]


class Strict(BaseModel):
    """Base of all sections: immutable, unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class AriConfig(Strict):
    """How the bridge talks to Asterisk."""

    url: HttpUrl = HttpUrl("http://127.0.0.1:8088")
    app: Name = "va"
    """Stasis application. A name for each running bridge: who comes later would take its calls."""
    username: str = "va"
    password: SecretStr = SecretStr("")
    password_file: Path | None = None
    request_s: Seconds = 5.0
    """Time limit of one command."""
    max_connections: int = Field(default=32, ge=1, le=1000)
    ping_s: Seconds = 10.0
    """An events socket that answers no ping for so long is taken for dead."""
    reconnect_min_s: Seconds = 0.2
    reconnect_max_s: Seconds = 10.0
    sweep_s: Seconds = 30.0
    """Between two looks for channels and bridges that nobody owns."""


class MediaConfig(Strict):
    """How audio gets to Asterisk and back."""

    kind: Literal["auto", "websocket", "rtp"] = "auto"
    """auto: websocket where Asterisk has all that it takes (since 20.18, 22.8, 23.2), else rtp."""
    format: Literal["ulaw", "alaw", "slin", "slin16"] = "ulaw"
    """Of both directions: G.711 at 8 kHz, or 16-bit PCM at 8 or 16 kHz. Asterisk converts."""
    buffer_ms: int = Field(default=4000, ge=100, le=60_000)
    """Audio that may be sent ahead of its playing before `send_audio` waits."""
    inbox_ms: int = Field(default=2000, ge=100, le=60_000)
    """Audio of the caller that may wait for a slow reader before the oldest is dropped."""
    lead_ms: int = Field(default=300, ge=60, le=5000)
    """WebSocket: audio that is given to Asterisk ahead of time, against hiccups of ours."""
    connect_s: Seconds = 5.0
    rtp_host: str = "127.0.0.1"
    """RTP: the address that Asterisk sends to, which must be one of this machine."""
    rtp_gap_ms: int = Field(default=60, ge=0, le=1000)
    """RTP: how long a missing packet is waited for before silence takes its place."""

    @model_validator(mode="after")
    def _rtp_has_no_slin(self) -> Self:
        if self.kind == "rtp" and self.format == "slin":
            raise ValueError("Asterisk sends no slin over RTP: choose ulaw, alaw or slin16")
        return self


class CallsConfig(Strict):
    """Which calls are taken, and what becomes of them."""

    max_calls: int = Field(default=30, ge=0, le=10_000)
    """Further calls go on in the dial plan, which has the fallback behind its Stasis()."""
    max_late_ms: int = Field(default=250, ge=0, le=10_000)
    """As do calls that come while the bridge is late with its work by so much, whatever their
    number: audio is given to Asterisk `media.lead_ms` ahead. 0: never mind."""
    setup_s: Seconds = 8.0
    """A call whose audio is not connected by then goes on in the dial plan."""
    max_call_s: float = Field(default=3600.0, gt=0, le=86_400)
    """No call is longer; the conversation's own limit should be shorter, and polite."""
    goodbye_s: Seconds = 5.0
    """After a hang-up the conversation gets this long to put its things in order."""
    release_s: Seconds = 5.0
    """For giving everything of a call back to Asterisk."""
    drain_s: float = Field(default=30.0, ge=0, le=3600)
    """After SIGTERM calls get this long to end; what is left then goes to the fallback."""
    transfer_context: str = "agents"
    """Dial plan context in which the targets of transfers are looked up."""
    fallback_context: str = ""
    """Where the calls of a bridge that died are sent. "": behind their Stasis()."""


class ConversationConfig(Strict):
    """What talks to the callers."""

    factory: str = "agents"
    """"agents": those of the store, see :class:`AgentsConfig`. Else `module:callable`, an
    `async (CallTransport) -> None` that is called once for each call."""


class BridgeConfig(YamlSettings):
    """The whole configuration."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix="BRIDGE__", env_nested_delimiter="__"
    )

    ari: AriConfig = AriConfig()
    media: MediaConfig = MediaConfig()
    calls: CallsConfig = CallsConfig()
    conversation: ConversationConfig = ConversationConfig()
    agents: AgentsConfig = AgentsConfig()
    """`fallback` is an extension in `calls.transfer_context`; without one such a call goes on in
    the dial plan, as `failed`. `Stasis(va,${EXTEN},consent=given)` permits a recording."""
    log: LogConfig = LogConfig()


def load_config(path: Path | None = None) -> BridgeConfig:
    """The configuration in `path` (or `$BRIDGE_CONFIG`, or `config.yaml` beside this file).

    Raises:
        ConfigError: what is wrong, and where.
    """
    path = path or Path(os.environ.get("BRIDGE_CONFIG", "") or DEFAULT_CONFIG)
    return load_file(BridgeConfig, path, _with_password)


def _with_password(config: BridgeConfig) -> BridgeConfig:
    file = config.ari.password_file
    if file is None or config.ari.password.get_secret_value():
        return config
    update: dict[str, Any] = {"password": SecretStr(read_secret(file, "ari.password_file"))}
    return config.model_copy(update={"ari": config.ari.model_copy(update=update)})
