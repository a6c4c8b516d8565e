"""Where the API listens, and who may use it."""

import ipaddress
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class ApiConfig(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8010
    """0: any free one."""
    keys_file: Path | None = None
    """Lines of `NAME SHA256`, as `voice agent key NAME` prints them."""
    allow_unauthenticated: bool = False
    """Listen where others can reach it, without keys."""
    open_metrics: bool | None = None
    """Whether `/metrics` needs no key; None: only on a loopback address."""
    send_s: Annotated[float, Field(gt=0, le=60)] = 5.0
    """A watcher of calls who takes longer to read is dropped."""

    @property
    def shows_metrics(self) -> bool:
        """To everybody who can reach it."""
        return self._is_local if self.open_metrics is None else self.open_metrics

    @property
    def _is_local(self) -> bool:
        return _loopback(self.host)

    @model_validator(mode="after")
    def _is_locked(self) -> Self:
        if self.keys_file is None and not self.allow_unauthenticated and not self._is_local:
            raise ValueError(
                f"others can reach {self.host}, but there are no keys: set keys_file, "
                "or allow_unauthenticated if that is meant"
            )
        return self


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
