"""What the balancer is to do: which instances there are, who may come in and how often. Checked."""

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])"
_ADDRESS = re.compile(rf"(?P<host>{_HOST}):(?P<port>[0-9]{{1,5}})|unix:/[A-Za-z0-9._/-]+")
_LISTEN = re.compile(rf"(?:(?:{_HOST}|\*):)?(?P<port>[0-9]{{1,5}})")
_PATH = re.compile(r"[A-Za-z0-9._/@+-]+")


def _address(text: str) -> str:
    found = _ADDRESS.fullmatch(text)
    if not found or not _is_port(found["port"]):
        raise ValueError(f"{text!r} is no address: HOST:PORT, [IPv6]:PORT or unix:/PATH")
    return text


def _listen(text: str) -> str:
    found = _LISTEN.fullmatch(text)
    if not found or not _is_port(found["port"]):
        raise ValueError(f"{text!r} is nothing to listen on: PORT or HOST:PORT")
    return text


def is_local(address: str) -> bool:
    """Is it on this machine, whoever looks at it?"""
    host = address.rpartition(":")[0].strip("[]")
    if host in ("localhost", "unix"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_port(text: str | None) -> bool:
    return text is None or 0 < int(text) < 65536


def _path(path: Path) -> Path:
    if not path.is_absolute() or not _PATH.fullmatch(str(path)):
        raise ValueError(f"{str(path)!r}: an absolute path of letters, digits and ._/@+- is wanted")
    return path


def _network(text: str) -> str:
    return str(ipaddress.ip_network(text))


# nginx's grammar is not ours to quote for: what could mean anything in it is refused.
Address = Annotated[str, AfterValidator(_address)]
Listen = Annotated[str, AfterValidator(_listen)]
FilePath = Annotated[Path, AfterValidator(_path)]
Network = Annotated[str, AfterValidator(_network)]
GroupName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
VoiceId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
HostName = Annotated[str, Field(pattern=r"^(_|(\*\.)?[A-Za-z0-9.-]{1,253})$")]
_Addresses = Annotated[tuple[Address, ...], Field(max_length=200)]
Instances = Annotated[_Addresses, Field(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Tls(_Strict):
    """Certificate chain and key, PEM."""

    certificate: FilePath
    key: FilePath
    redirect: Listen | None = "80"
    """Where plain HTTP is sent on to HTTPS; None: nowhere."""
    redirect_port: int | None = Field(default=None, gt=0, lt=65536)
    """Port of the address that it is sent on to, where that is not 443."""


class ClientLimits(_Strict):
    """What one address and one key may do before nginx refuses; 0: as much as it likes.

    The services have limits of their own, with reasons; these keep floods away from them.
    """

    address_connections: int = Field(default=40, ge=0, le=1_000_000)
    key_connections: int = Field(default=1000, ge=0, le=1_000_000)
    address_rate: int = Field(default=20, ge=0, le=1_000_000)
    """Requests and new sessions a second."""
    address_burst: int = Field(default=60, ge=0, le=1_000_000)
    """So many may come at once."""
    key_rate: int = Field(default=200, ge=0, le=1_000_000)
    key_burst: int = Field(default=400, ge=0, le=1_000_000)
    trusted: tuple[Network, ...] = ("127.0.0.0/8", "::1/128")
    """Not limited: a telephone gateway brings many callers from one address, with one key. They
    also decide by their `traceparent` what is traced, and may ask whether instances are ready."""


class Uploads(_Strict):
    """Largest bodies; a little above what the services accept, whose answers say more."""

    asr_mb: int = Field(default=201, ge=1, le=100_000)
    """`upload.max_bytes` of the ASR service."""
    tts_mb: int = Field(default=51, ge=1, le=100_000)
    """`voices.reference.max_bytes` of the TTS service."""


class Plan(_Strict):
    """Everything that the rendered configuration depends on."""

    asr: _Addresses = ()
    """Without any the balancer is one for speech synthesis alone; the same holds the other way."""
    tts: Mapping[GroupName, Instances] = {}
    """Group → instances; a group has one engine and one set of voices. The first is the default."""
    voices: Mapping[VoiceId, GroupName] = {}
    """Voices of other groups than the default, to which `?voice=` then leads."""
    listen: Listen = "443"
    ipv6: bool = False
    """Also at all IPv6 addresses; `listen` is a port then."""
    inner: Listen | None = None
    """Where programs of this machine are served in clear text, beside TLS for others: loopback."""
    server_name: HostName = "_"
    tls: Tls | None = None
    behind: tuple[Network, ...] = ()
    """Proxies in front of nginx, which tell by `X-Forwarded-For` whom they stand for. Without them
    whoever comes through a proxy has that one's address, and is never trusted."""
    status: Listen | None = None
    """Where nginx tells its own counters, e.g. `127.0.0.1:8009`: `/metrics`, `/status`."""
    limits: ClientLimits = ClientLimits()
    uploads: Uploads = Uploads()
    access_log: FilePath | None = None
    """JSON, a line a request, without queries and headers; None: none is kept."""

    @property
    def default_tts(self) -> str | None:
        return next(iter(self.tts), None)

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.ipv6 and not self.listen.isdecimal():
            raise ValueError(f"ipv6: listen {self.listen} is one address; a PORT is wanted")
        if self.inner is not None and not is_local(self.inner):
            raise ValueError(f"inner: {self.inner} is no loopback address such as 127.0.0.1:8080")
        if not self.asr and not self.tts:
            raise ValueError("asr, tts: instances of one of them at least are wanted")
        for voice, group in self.voices.items():
            if group not in self.tts:
                known = ", ".join(self.tts) or "none"
                raise ValueError(f"voice {voice!r}: there is no group {group!r}, only {known}")
        every = [*self.asr, *(address for group in self.tts.values() for address in group)]
        for address in every:
            if every.count(address) > 1:
                raise ValueError(f"{address} is named twice; an instance belongs to one group")
        return self
