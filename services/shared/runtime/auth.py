"""API keys: `Authorization: Bearer KEY`, or the subprotocols `voice, KEY` for browsers."""

import hashlib
import hmac
import ipaddress
from collections.abc import Iterable

from starlette.requests import HTTPConnection

from services.shared.protocol.base import ErrorCode, ProtocolError
from services.shared.runtime.config import ConfigError, ServerConfig

SUBPROTOCOL = "voice"
"""Browsers cannot set headers on a WebSocket: they offer the subprotocols `voice` and the key."""


class KeyRing:
    """The accepted keys, kept as SHA-256 digests and compared in constant time."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = [_digest(key) for key in keys]

    def __bool__(self) -> bool:
        return bool(self._digests)

    def accepts(self, key: str) -> bool:
        given = _digest(key)
        # No early exit: the time must not tell which key came close.
        return sum(hmac.compare_digest(given, known) for known in self._digests) > 0

    def check(self, connection: HTTPConnection) -> None:
        """Raises ProtocolError `unauthorized` unless the connection carries an accepted key."""
        if not self:
            return
        key = offered_key(connection)
        if key is None:
            raise ProtocolError(
                ErrorCode.UNAUTHORIZED,
                "an API key is required: send the header 'Authorization: Bearer KEY', "
                "or from a browser the WebSocket subprotocols 'voice' and the key",
            )
        if not self.accepts(key):
            raise ProtocolError(ErrorCode.UNAUTHORIZED, "the API key is not accepted")

    def owner(self, connection: HTTPConnection) -> str:
        """Whose things are these? A digest that stands for the key, and cannot be used as one;
        `public` where no key is asked for."""
        holder = holder_of(connection) if self else None
        return hashlib.sha256(b"owner:" + holder).hexdigest()[:32] if holder else "public"


def holder_of(connection: HTTPConnection) -> bytes | None:
    """Who is it? A digest of the key that was offered; None without one."""
    key = offered_key(connection)
    return None if key is None else _digest(key)


def offered_key(connection: HTTPConnection) -> str | None:
    scheme, _, value = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and value.strip():
        return value.strip()
    offered = connection.scope.get("subprotocols") or []
    if len(offered) == 2 and offered[0] == SUBPROTOCOL:
        return str(offered[1])
    return None


def load_keys(server: ServerConfig) -> KeyRing:
    """Collect the keys; refuse an open door.

    Raises:
        ConfigError: keys file unreadable or empty, or a non-loopback bind without any key.
    """
    keys = [secret.get_secret_value().strip() for secret in server.api_keys]
    if server.api_keys_file is not None:
        try:
            lines = server.api_keys_file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"server.api_keys_file cannot be read: {error}") from None
        keys += [line.split("#", 1)[0].strip() for line in lines]
    ring = KeyRing(key for key in keys if key)
    if not ring and (server.api_keys or server.api_keys_file is not None):
        # Whoever names keys wants the door locked, also behind a proxy on the same machine.
        raise ConfigError("server.api_keys or server.api_keys_file is set but holds no key")
    if not ring and not server.allow_unauthenticated and not _is_loopback(server.host):
        raise ConfigError(
            f"server.host is {server.host}, which others can reach, but no API key is configured: "
            "set server.api_keys_file, or server.allow_unauthenticated: true if that is meant"
        )
    return ring


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
