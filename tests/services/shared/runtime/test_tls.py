"""What is no certificate is told at the start."""

from pathlib import Path

import pytest
import trustme
from pydantic import ValidationError

from services.shared.runtime.config import ConfigError, ServerConfig
from services.shared.runtime.tls import server_context


def test_without_files_it_is_in_the_clear() -> None:
    assert server_context(ServerConfig()) is None


def test_one_file_is_not_enough(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="go together"):
        ServerConfig(tls_cert=tmp_path / "cert.pem")
    with pytest.raises(ValidationError, match="go together"):
        ServerConfig(tls_key=tmp_path / "key.pem")


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    cert, key, other = (tmp_path / name for name in ("cert.pem", "key.pem", "other.pem"))
    server = ServerConfig(tls_cert=cert, tls_key=key)
    with pytest.raises(ConfigError, match=r"cert\.pem with server\.tls_key .*key\.pem cannot"):
        server_context(server)
    authority = trustme.CA()
    for name, path in (("a.example", key), ("b.example", other)):
        made = authority.issue_cert(name)
        made.cert_chain_pems[0].write_to_path(str(cert))
        made.private_key_pem.write_to_path(str(path))
    with pytest.raises(ConfigError, match=r"(?i)mismatch"):
        server_context(server)
    assert server_context(ServerConfig(tls_cert=cert, tls_key=other)) is not None
    cert.write_text("no certificate", encoding="utf-8")
    with pytest.raises(ConfigError, match="cannot be used"):
        server_context(server)
