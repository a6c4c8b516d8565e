"""The way to the real service: TLS, and a token made of a service account's key.

The client is a process of its own, because gRPC reads the trusted certificates once in a process.
"""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.services.asr.bursts import sentence
from tests.services.asr.google_server import GoogleServer, ServiceLimits

CLIENT = """
import asyncio, sys
from blockbuster import blockbuster_ctx
from services.asr.config import GoogleConfig
from services.asr.engines.google import GoogleEngine
from services.asr.engines.streaming import StreamOptions
from tests.services.asr.bursts import sentence, spoken

async def main():
    engine = GoogleEngine(GoogleConfig(endpoint=sys.argv[1]))
    await asyncio.to_thread(engine.load)
    with blockbuster_ctx(scanned_modules=["services"]):
        await engine.start()
        stream = engine.open(StreamOptions())
        stream.push(spoken(sentence(5)))
        print((await stream.finish()).text)
        await engine.close()

asyncio.run(main())
"""


def test_a_key_file_is_enough(tmp_path: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    certificate = self_signed(key)
    roots, account = tmp_path / "roots.pem", tmp_path / "key.json"
    roots.write_bytes(certificate)
    account.write_text(json.dumps(service_account(private)), encoding="utf-8")
    server = GoogleServer(
        ServiceLimits(), tls=grpc.ssl_server_credentials([(private, certificate)])
    )
    try:
        client = subprocess.run(
            # The long form of a name is not taken for the loopback, which would do without TLS.
            [sys.executable, "-c", CLIENT, f"dns:///localhost:{server.port}"],
            env={
                **os.environ,
                "GOOGLE_APPLICATION_CREDENTIALS": str(account),
                "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(roots),
                "no_proxy": "localhost",
            },
            cwd=Path(__file__).parents[4],
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
    finally:
        server.stop()
    assert client.stdout.split() == sentence(5), client.stderr
    [stream] = server.streams
    assert stream.request.recognizer == "projects/acme/locations/global/recognizers/_"
    assert stream.metadata["authorization"].startswith("Bearer ey")


def service_account(private: bytes) -> dict[str, str]:
    """A key file of nobody's."""
    return {
        "type": "service_account",
        "project_id": "acme",
        "private_key_id": "1",
        "private_key": private.decode(),
        "client_email": "voice@acme.invalid",
        "token_uri": "https://token.invalid/token",
    }


def self_signed(key: rsa.RSAPrivateKey) -> bytes:
    """A certificate for localhost."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(Encoding.PEM)
