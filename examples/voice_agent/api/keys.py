"""API keys: random, told once, kept as SHA-256 digests, compared in constant time.

The keys of the services (`services/shared/runtime/auth.py`) are not used here, because examples
know the services over the wire only.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

from starlette.requests import HTTPConnection

from examples.voice_agent.api.errors import ApiError, ErrorKind
from examples.voice_agent.store.errors import StoreError

SUBPROTOCOL = "voice"
"""Browsers cannot set headers on a WebSocket: they offer the subprotocols `voice` and the key."""
NOBODY = "anybody"
"""Who it is where no keys are asked for."""
_LINE = re.compile(r"(?P<name>[\w.@-]{1,64})\s+(?P<digest>[0-9a-f]{64})")


def new_key() -> str:
    """256 random bits: no dictionary holds it, so a plain hash protects it."""
    return f"va_{secrets.token_urlsafe(32)}"


def key_digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


class KeyRing:
    """The keys of people, by name."""

    def __init__(self, digests: Mapping[str, str] | None = None) -> None:
        """None: no keys are asked for."""
        self._digests = None if digests is None else dict(digests)

    @classmethod
    def load(cls, file: Path | None) -> "KeyRing":
        """Reads a file.

        Raises:
            StoreError: it cannot be read, holds something else, or nothing.
        """
        if file is None:
            return cls()
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise StoreError(f"the keys cannot be read: {error}") from None
        digests: dict[str, str] = {}
        for number, line in enumerate(lines, 1):
            content = line.split("#", 1)[0].strip()
            found = _LINE.fullmatch(content)
            if found:
                digests[found["name"]] = found["digest"]
            elif content:
                raise StoreError(f"{file}:{number} is not NAME and SHA-256, as `voice agent key`")
        if not digests:
            raise StoreError(f"{file} holds no key; `voice agent key NAME` makes one")
        return cls(digests)

    def holder(self, connection: HTTPConnection) -> str:
        """Whose key it is.

        Raises:
            ApiError: there is none, or it is not accepted.
        """
        if self._digests is None:
            return NOBODY
        key = _offered(connection)
        if key is None:
            raise ApiError(
                ErrorKind.UNAUTHORIZED,
                "an API key is required: send the header 'Authorization: Bearer KEY', "
                "or from a browser the WebSocket subprotocols 'voice' and the key",
            )
        given = key_digest(key)
        # No early exit: the time must not tell which key came close.
        holders = [
            name for name, digest in self._digests.items() if hmac.compare_digest(given, digest)
        ]
        if not holders:
            raise ApiError(ErrorKind.UNAUTHORIZED, "the API key is not accepted")
        return holders[0]


def _offered(connection: HTTPConnection) -> str | None:
    scheme, _, value = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and value.strip():
        return value.strip()
    offered = connection.scope.get("subprotocols") or []
    if len(offered) == 2 and offered[0] == SUBPROTOCOL:
        return str(offered[1])
    return None
