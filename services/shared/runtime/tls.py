"""TLS without a proxy in front: a certificate and its key, from files that may change."""

import asyncio
import ssl
from pathlib import Path

import structlog

from services.shared.runtime.config import ConfigError, ServerConfig
from services.shared.runtime.file_stamps import stamp_of

log = structlog.get_logger(__name__)

RELOAD_S = 5.0
"""How often it is looked whether the certificate was renewed."""


class Certificate:
    """What a service shows to who connects; connections that are open keep what they saw.

    Raises:
        ConfigError: the files cannot be read, or do not belong together.
    """

    def __init__(self, chain: Path, key: Path) -> None:
        """Blocks."""
        self._files = chain, key
        self._seen = stamp_of(self._files)
        self.context = self._latest = _context(chain, key)
        """To listen with."""
        self.context.sni_callback = self._show

    @classmethod
    def of(cls, server: ServerConfig) -> "Certificate | None":
        """None: serve in the clear. Blocks; raises as the class."""
        if server.tls_cert is None or server.tls_key is None:
            return None
        return cls(server.tls_cert, server.tls_key)

    async def watch(self, every_s: float = RELOAD_S) -> None:
        """Follow changes of the files for ever; run as a task of the server."""
        told = ""
        while True:
            await asyncio.sleep(every_s)
            try:
                renewed = await asyncio.to_thread(self._renew)
            except ConfigError as error:
                if str(error) != told:
                    told = str(error)
                    log.error("the certificate of before stays", error=told)
            else:
                told = "" if renewed else told
                if renewed:
                    log.info("the certificate was read again")

    def _renew(self) -> bool:
        """Blocks; raises ConfigError, also while only one of the two files is the new one."""
        stamp = stamp_of(self._files)
        if stamp == self._seen:
            return False
        # A context of its own: one in use would be left with half of what does not fit together.
        self._latest = _context(*self._files)
        self._seen = stamp
        return True

    def _show(self, connection: ssl.SSLObject, _name: str | None, _context: object) -> None:
        """Called within each handshake, also when no name is asked for."""
        connection.context = self._latest


def _context(chain: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(chain, key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"server.tls_cert {chain} with server.tls_key {key} cannot be used: {error}"
        ) from None
    return context
