"""TLS without a proxy in front: a certificate and its key, from files."""

import ssl

from services.shared.runtime.config import ConfigError, ServerConfig


def server_context(server: ServerConfig) -> ssl.SSLContext | None:
    """What to serve with; None: in the clear. Blocks.

    Raises:
        ConfigError: the files cannot be read, or do not belong together.
    """
    if server.tls_cert is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(server.tls_cert, server.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"server.tls_cert {server.tls_cert} with server.tls_key {server.tls_key} "
            f"cannot be used: {error}"
        ) from None
    return context
