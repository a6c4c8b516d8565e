"""Where keys and the secret of tokens come from: files that may change, and the environment."""

import ipaddress
from collections.abc import Sequence
from pathlib import Path

from services.shared.runtime.auth import KeyRing
from services.shared.runtime.config import ConfigError, ServerConfig
from services.shared.runtime.file_stamps import Stamp, stamp_of
from services.shared.runtime.keys import KeyFileError, KeyRecord, parse_key_file, plain_record
from services.shared.runtime.tokens import MIN_SECRET, Tokens


class KeySource:
    """The keys that a configuration names. Its methods block."""

    def __init__(self, server: ServerConfig) -> None:
        self._server = server
        self._files = [file for file in (server.keys_file, server.api_keys_file) if file]
        self._seen: Stamp = ()

    def read(self) -> list[KeyRecord]:
        """Raises ConfigError: a file that cannot be read, or a plain list without a key."""
        self._seen = stamp_of(self._files)
        records: list[KeyRecord] = []
        if self._server.keys_file is not None:
            records += _read_keys_file(self._server.keys_file)
        return records + [plain_record(key) for key in self._plain()]

    def changed(self) -> list[KeyRecord] | None:
        """The keys, if a file has changed since they were read. Raises as :meth:`read`."""
        if stamp_of(self._files) == self._seen:
            return None
        try:
            return self.read()
        except ConfigError as error:
            # Permissions, or a lack of descriptors: what mends it need not change the file, and a
            # key that was revoked meanwhile must not stay in force.
            if isinstance(error.__cause__, OSError):
                self._seen = ()
            raise

    def _plain(self) -> list[str]:
        server = self._server
        keys = [secret.get_secret_value().strip() for secret in server.api_keys]
        if server.api_keys_file is not None:
            lines = _text(server.api_keys_file, "server.api_keys_file").splitlines()
            keys += [line.split("#", 1)[0].strip() for line in lines]
        keys = [key for key in keys if key]
        if not keys and (server.api_keys or server.api_keys_file is not None):
            # Whoever names keys wants the door locked, also behind a proxy on the same machine.
            raise ConfigError("server.api_keys or server.api_keys_file is set but holds no key")
        return keys


def load_keys(server: ServerConfig) -> KeyRing:
    """Collect the keys; refuse an open door. Blocks.

    Raises:
        ConfigError: a file is unreadable or empty, or a non-loopback bind without any key.
    """
    source = KeySource(server)
    ring = KeyRing(
        records=source.read(),
        locked=server.keys_file is not None,
        tokens=_tokens(server.token_secret_file),
        changed=source.changed,
    )
    if not ring and not server.allow_unauthenticated and not is_loopback(server.host):
        raise ConfigError(
            f"server.host is {server.host}, which others can reach, but no API key is configured: "
            "set server.keys_file, or server.allow_unauthenticated: true if that is meant"
        )
    return ring


def is_loopback(host: str) -> bool:
    """Can only this machine reach it?"""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _read_keys_file(file: Path) -> Sequence[KeyRecord]:
    try:
        return parse_key_file(_text(file, "server.keys_file")).keys
    except KeyFileError as error:
        raise ConfigError(f"server.keys_file {file}: {error}") from None


def _tokens(file: Path | None) -> Tokens | None:
    if file is None:
        return None
    secret = _text(file, "server.token_secret_file").strip().encode()
    try:
        return Tokens(secret)
    except ValueError:
        raise ConfigError(
            f"server.token_secret_file {file} holds less than {MIN_SECRET} characters; "
            "`voice keys secret` makes one"
        ) from None


def _text(file: Path, setting: str) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{setting} cannot be read: {error}") from error
