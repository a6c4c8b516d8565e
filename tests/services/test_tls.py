"""Services that speak https and wss themselves, with real clients that look at the certificate."""

import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import trustme
from websockets.asyncio.client import connect

import services.asr.app
import services.tts.app
from services.asr.messages import Final, Start, Stopped
from services.client.asr import open_asr
from services.client.connection import ServiceError, trusting
from services.client.tts import open_tts, synthesize
from services.client.voices import Voices
from services.shared.media.wav import wav_bytes
from services.shared.models.store import ModelStore
from services.shared.runtime.config import ServerConfig
from services.tts.config import TtsConfig
from services.tts.messages import AudioFinished
from services.tts.messages import Start as TtsStart
from tests.services.asr.conftest import tones as asr_tones
from tests.services.asr.sounds import RATE, joined, silence, tone
from tests.services.serving import serving
from tests.services.tts.conftest import tones as tts_tones


@dataclass(frozen=True)
class Secured:
    """Two services, and whom to trust."""

    asr: str
    tts: str
    """host:port"""
    ca: Path
    other_ca: Path


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("tls")
    authority, stranger = trustme.CA(), trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    files = [folder / name for name in ("ca.pem", "other.pem", "cert.pem", "key.pem")]
    authority.cert_pem.write_to_path(str(files[0]))
    stranger.cert_pem.write_to_path(str(files[1]))
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(str(files[2]), append=True)
    certificate.private_key_pem.write_to_path(str(files[3]))
    server = ServerConfig(tls_cert=files[2], tls_key=files[3], drain_s=0.5)
    store = ModelStore()
    asr, tts = asr_tones(), TtsConfig(engines=tts_tones())
    with ExitStack() as stack:
        asr_live = stack.enter_context(
            serving(services.asr.app.create_app(asr, store), asr.limits, server)
        )
        tts_live = stack.enter_context(
            serving(services.tts.app.create_app(tts, store), tts.limits, server)
        )
        yield Secured(asr_live.address, tts_live.address, files[0], files[1])


@pytest.fixture(scope="module")
def tls(secured: Secured) -> ssl.SSLContext:
    return trusting(secured.ca)


@pytest.fixture(scope="module")
def mistrusting(secured: Secured) -> ssl.SSLContext:
    return trusting(secured.other_ca)


async def test_a_caller_is_recognised_over_wss(secured: Secured, tls: ssl.SSLContext) -> None:
    sound = joined(silence(300), tone(400, 1000), silence(1500))
    pcm = (sound * 32_767).astype("<i2").tobytes()
    async with open_asr(f"wss://{secured.asr}", Start(), tls=tls) as stream:
        for at in range(0, len(pcm), 3200):
            await stream.send_audio(pcm[at : at + 3200])
        await stream.stop()
        told = [message async for _, message in stream.events()]
    finals = [message.text for message in told if isinstance(message, Final)]
    assert set(" ".join(finals).split()) == {"w4"}
    assert isinstance(told[-1], Stopped)


async def test_text_is_spoken_over_wss_and_https(secured: Secured, tls: ssl.SSLContext) -> None:
    async with open_tts(f"wss://{secured.tts}", tls=tls) as stream:
        await stream.start(TtsStart())
        await stream.send_text("Good morning.")
        await stream.end()
        async for _, message in stream.events():
            if isinstance(message, AudioFinished):
                assert message.audio_ms > 500
                break
    wanted = {"text": "Good morning.", "format": "pcm"}
    spoken = [block async for block in synthesize(f"https://{secured.tts}", wanted, tls=tls)]
    assert sum(map(len, spoken)) > 10_000
    async with Voices.at(f"https://{secured.tts}", tls=tls) as voices:
        assert await voices.list()


async def test_another_authoritys_certificate_is_not_believed(
    secured: Secured, mistrusting: ssl.SSLContext
) -> None:
    with pytest.raises(ServiceError, match="CERTIFICATE_VERIFY_FAILED"):
        async with open_tts(f"wss://{secured.tts}", tls=mistrusting):
            pass
    with pytest.raises(ServiceError, match="CERTIFICATE_VERIFY_FAILED"):
        async with open_asr(f"wss://{secured.asr}", Start(), tls=mistrusting):
            pass
    async with Voices.at(f"https://{secured.tts}", tls=mistrusting) as voices:
        with pytest.raises(ServiceError, match="CERTIFICATE_VERIFY_FAILED"):
            await voices.list()


async def test_nothing_is_said_in_the_clear(secured: Secured) -> None:
    with pytest.raises(ServiceError, match="cannot be reached"):
        async with open_tts(f"ws://{secured.tts}"):
            pass
    async with httpx.AsyncClient(trust_env=False) as http:
        with pytest.raises(httpx.TransportError):
            await http.get(f"http://{secured.tts}/health/live")


async def test_old_versions_of_tls_are_refused(secured: Secured, tls: ssl.SSLContext) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    with pytest.warns(DeprecationWarning):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await connect(f"wss://{secured.tts}/v1/stream/tts", ssl=old, proxy=None)


@pytest.mark.parametrize("trusted", [True, False])
def test_commands_trust_whom_ssl_cert_file_names(
    secured: Secured, tmp_path: Path, trusted: bool
) -> None:
    file = tmp_path / "speech.wav"
    file.write_bytes(wav_bytes(joined(silence(300), tone(400, 1000), silence(800)), RATE))
    done = subprocess.run(
        [sys.executable, "-m", "services.cli.main", "transcribe", str(file)]
        + ["--url", f"https://{secured.asr}"],
        env={"SSL_CERT_FILE": str(secured.ca if trusted else secured.other_ca)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    said = (0, {"w4"}) if trusted else (1, set())
    assert (done.returncode, set(done.stdout.split())) == said, done.stderr
