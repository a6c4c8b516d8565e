"""What is no certificate is told at the start."""

import ssl
from pathlib import Path

import httpx
import pytest
import structlog.testing
import trustme
from prometheus_client import CollectorRegistry
from pydantic import ValidationError

from services.shared.runtime import tls
from services.shared.runtime.auth import KeyRing
from services.shared.runtime.config import ConfigError, LimitsConfig, ServerConfig
from services.shared.runtime.lifecycle import Lifecycle
from services.shared.runtime.tls import Certificate
from tests.services.serving import eventually, serving
from tests.services.shared.runtime.conftest import tiny_app


def test_without_files_it_is_in_the_clear() -> None:
    assert Certificate.of(ServerConfig()) is None


def test_one_file_is_not_enough(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="go together"):
        ServerConfig(tls_cert=tmp_path / "cert.pem")
    with pytest.raises(ValidationError, match="go together"):
        ServerConfig(tls_key=tmp_path / "key.pem")


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    cert, key, other = (tmp_path / name for name in ("cert.pem", "key.pem", "other.pem"))
    server = ServerConfig(tls_cert=cert, tls_key=key)
    with pytest.raises(ConfigError, match=r"cert\.pem with server\.tls_key .*key\.pem cannot"):
        Certificate.of(server)
    authority = trustme.CA()
    for name, path in (("a.example", key), ("b.example", other)):
        made = authority.issue_cert(name)
        made.cert_chain_pems[0].write_to_path(str(cert))
        made.private_key_pem.write_to_path(str(path))
    with pytest.raises(ConfigError, match=r"(?i)mismatch"):
        Certificate.of(server)
    assert Certificate.of(ServerConfig(tls_cert=cert, tls_key=other)) is not None
    cert.write_text("no certificate", encoding="utf-8")
    with pytest.raises(ConfigError, match="cannot be used"):
        Certificate.of(server)


class Renewed:
    """A certificate for this machine in two files, of one authority after the other."""

    def __init__(self, folder: Path) -> None:
        self.server = ServerConfig(
            tls_cert=folder / "chain.pem", tls_key=folder / "key.pem", drain_s=0.2
        )

    def chain(self) -> tuple[bytes, bytes, ssl.SSLContext]:
        """Another certificate, its key, and who trusts it."""
        authority = trustme.CA()
        made = authority.issue_cert("127.0.0.1")
        trusting = ssl.create_default_context()
        authority.configure_trust(trusting)
        return made.cert_chain_pems[0].bytes(), made.private_key_pem.bytes(), trusting

    def write(self, chain: bytes | None = None, key: bytes | None = None) -> None:
        assert self.server.tls_cert is not None and self.server.tls_key is not None
        for file, data in ((self.server.tls_cert, chain), (self.server.tls_key, key)):
            if data is not None:  # at once, as who renews them should do it
                file.with_suffix(".new").write_bytes(data)
                file.with_suffix(".new").replace(file)


async def believed(url: str, trusting: ssl.SSLContext) -> bool:
    async with httpx.AsyncClient(verify=trusting, trust_env=False) as http:
        try:
            return (await http.get(f"{url}/health/live")).status_code == 200
        except httpx.ConnectError as error:
            assert "CERTIFICATE_VERIFY_FAILED" in str(error)
            return False


async def test_a_renewed_certificate_is_shown_to_who_comes_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls.Certificate.watch, "__defaults__", (0.02,))
    files = Renewed(tmp_path)
    (chain, key, before), (new_chain, new_key, after) = files.chain(), files.chain()
    files.write(chain, key)
    limits = LimitsConfig()
    app = tiny_app(Lifecycle(limits, KeyRing([]), CollectorRegistry()), busy=False)
    with serving(app, limits, files.server) as live, structlog.testing.capture_logs() as lines:
        url = live.http.replace("http:", "https:")
        async with httpx.AsyncClient(verify=before, trust_env=False) as kept:
            await kept.get(f"{url}/health/live")
            files.write(chain=new_chain)
            await eventually(lambda: any(line["log_level"] == "error" for line in lines))
            assert await believed(url, before), "half of a pair is not shown"
            files.write(key=new_key)
            await eventually(lambda: any("read again" in line["event"] for line in lines))
            assert await believed(url, after) and not await believed(url, before)
            assert (await kept.get(f"{url}/health/live")).status_code == 200, "it was open"
        assert len([line for line in lines if line["log_level"] == "error"]) == 1
