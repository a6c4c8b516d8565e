"""Both services are run with secrets and fed with more of them: none of it may come out again.

They run as processes of their own, at the most talkative level, and all that they write is read.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from services.asr.config import AsrConfig
from services.cli.processes import free_port
from services.shared.media.wav import wav_bytes
from services.shared.runtime.config import ConfigError, ServerConfig
from services.shared.runtime.key_files import load_keys
from services.shared.runtime.key_store import KeyStore, write_secret
from services.shared.runtime.keys import Scope, new_key
from tests.services.asr.sounds import RATE, joined, silence, tone

PLAIN = "PLAIN-SECRET-KEY-0123456789"
WRONG = "WRONG-SECRET-KEY-0123456789"
SAID = "Colonel Mustard 4111111111111111"
"""What a client says is no secret of the service, but nobody's business either."""
FAKE = {
    "ASR__ENGINE__NAME": "fake",
    "ASR__VAD__NAME": "energy",
    "ASR__LOG__LEVEL": "debug",
    "TTS__ENGINES__FAKE__ENABLED": "true",
    "TTS__ENGINES__PIPER__ENABLED": "false",
    "TTS__LOG__LEVEL": "debug",
}


class Running:
    """A service's process, and what it has written once it is over."""

    def __init__(self, name: str, port: int) -> None:
        self.name = name
        self.http = f"http://127.0.0.1:{port}"
        self.ws = f"ws://127.0.0.1:{port}/v1/stream/{name}"
        self.output = ""


@contextmanager
def running(name: str, folder: Path, **more: str) -> Iterator[Running]:
    port, prefix = free_port(), name.upper()
    settings = {
        f"{prefix}__SERVER__PORT": str(port),
        f"{prefix}__SERVER__API_KEYS": json.dumps([PLAIN]),
        f"{prefix}__SERVER__KEYS_FILE": str(folder / "keys.yaml"),
        f"{prefix}__SERVER__TOKEN_SECRET_FILE": str(folder / "secret"),
        **{f"{prefix}__{key}": value for key, value in more.items()},
    }
    service = Running(name, port)
    with (folder / "output").open("w+") as out:
        command = [sys.executable, "-m", f"services.{name}"]
        process = subprocess.Popen(
            command, env=os.environ | FAKE | settings, stdout=out, stderr=out
        )
        try:
            asyncio.run(ready(service, process))
            yield service
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)
            out.seek(0)
            service.output = out.read()
    assert "ready" in service.output


async def ready(service: Running, process: "subprocess.Popen[bytes]") -> None:
    async with httpx.AsyncClient(trust_env=False) as http, asyncio.timeout(30):
        while process.poll() is None:
            with suppress(httpx.TransportError):
                if (await http.get(f"{service.http}/health/ready")).status_code == 200:
                    return
            await asyncio.sleep(0.05)


@pytest.fixture
def made(tmp_path: Path) -> tuple[str, Path]:
    """A key, and the folder with the files of both."""
    key, record = new_key("Ada", scopes=Scope, now=datetime.now(UTC))
    KeyStore(tmp_path / "keys.yaml").add(record)
    write_secret(tmp_path / "secret")
    return key, tmp_path


async def upgrade(url: str, *messages: str | bytes, **about: Any) -> None:
    """Connect, send, and hear the end of it, whatever happens."""
    with suppress(InvalidStatus, ConnectionClosed):
        async with connect(url, proxy=None, **about) as socket, asyncio.timeout(10):
            for message in messages:
                await socket.send(message)
            async for _ in socket:
                pass


def bearing(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def offer_everything(service: Running, keys: list[str]) -> None:
    """Every key in every place, also where it does not belong."""
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        for key in keys:
            for path in ("/v1/voices", "/v1/nothing", "/metrics", f"/v1/voices/{key}"):
                await http.get(path, headers=bearing(key))
                await http.get(path, params={"key": key, "token": key})
                await http.get(path, headers={"Authorization": key, "X-Request-ID": "id-1"})
            await http.post("/v1/tokens", json={"key": key}, headers=bearing(key))
            await http.post("/v1/tokens", content=f'{{"{key}', headers=bearing(key))
            await http.options("/v1/tokens", headers={"Origin": f"https://{key}.example"})
            await upgrade(service.ws, additional_headers=bearing(f"{key}x"))
            await upgrade(service.ws, subprotocols=[Subprotocol("voice"), Subprotocol(f"{key}x")])
            await upgrade(f"{service.ws}?key={key}&session_id={key}&last_event={key}")
            offered = [Subprotocol("voice"), Subprotocol(key)]
            for message in (
                '{"type": "stop"}',
                '{"type": "close"}',
                f'{{"type": "start", "language": ["{SAID}"]}}',
                f'{{"type": "{SAID}"}}',
                f'{{"type": "text", "text": ["{SAID}"], "{SAID}": 1}}',
                f'{{"{SAID}',
                f'["{SAID}"]',
            ):
                await upgrade(service.ws, message, subprotocols=offered)


async def speak(service: Running, key: str) -> None:
    """Something is recognised or spoken over each transport."""
    sound = joined(silence(300), tone(400, 1000), silence(1000))
    if service.name == "asr":
        pcm = (sound * 32_767).astype("<i2").tobytes()
        await upgrade(service.ws, pcm, '{"type": "stop"}', additional_headers=bearing(key))
        request: dict[str, Any] = {"files": {"file": wav_bytes(sound, RATE)}}
        path = "/v1/transcribe"
    else:
        text = json.dumps({"type": "text", "text": f"{SAID}. "})
        messages = ('{"type": "start", "context_id": "a"}', text, '{"type": "close"}')
        await upgrade(service.ws, *messages, additional_headers=bearing(key))
        request, path = {"json": {"text": SAID}}, "/v1/synthesize"
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as http:
        answer = await http.post(path, headers=bearing(key), timeout=20, **request)
        assert answer.status_code == 200, answer.text


@pytest.mark.slow
@pytest.mark.parametrize("name", ["asr", "tts"])
def test_no_secret_and_no_word_is_logged(name: str, made: tuple[str, Path]) -> None:
    key, folder = made
    with running(name, folder) as service:
        answer = httpx.post(
            f"{service.http}/v1/tokens", json={}, headers=bearing(key), trust_env=False
        )
        token = answer.json()["token"]
        asyncio.run(offer_everything(service, [key, PLAIN, WRONG, token]))
        asyncio.run(speak(service, key))
    signing = (folder / "secret").read_text().strip()
    for secret in (key, key.split("_", 2)[2], PLAIN, WRONG, token, token.split(".")[2], signing):
        assert secret not in service.output
    for word in (*SAID.split(), "w4"):
        assert word not in service.output
    assert key.split("_")[1] in service.output, "the key's id tells whose session it was"
    assert "Traceback" not in service.output


@pytest.mark.slow
@pytest.mark.parametrize(("name", "word"), [("asr", "w4"), ("tts", "Mustard")])
def test_what_is_said_is_logged_where_that_is_wanted(
    name: str, word: str, made: tuple[str, Path]
) -> None:
    key, folder = made
    with running(name, folder, LOG__CONTENT="true") as service:
        asyncio.run(speak(service, key))
    assert service.output.count(word) >= 2, "once for each transport"
    assert key not in service.output


@pytest.mark.parametrize(
    "value", [PLAIN, f'"{PLAIN}"', f'{{"a": "{PLAIN}"}}', f'[["{PLAIN}"]]', f'["{PLAIN}", 5]']
)
def test_a_setting_that_is_wrong_is_not_quoted_when_it_may_be_a_key(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASR__SERVER__API_KEYS", value)
    with pytest.raises(ConfigError) as refusal:
        AsrConfig.load(None)
    assert PLAIN not in str(refusal.value)


CONTENTS = [
    PLAIN,
    f"{PLAIN}\n{WRONG}\n",
    f"- {PLAIN}",
    f"{PLAIN}: [",
    f"keys: [{PLAIN}]",
    f"{PLAIN}: 1",
]


@pytest.mark.parametrize("text", CONTENTS)
def test_a_plain_list_that_is_taken_for_a_keys_file_is_not_quoted(
    text: str, tmp_path: Path
) -> None:
    file = tmp_path / "keys"
    file.write_text(text)
    with pytest.raises(ConfigError) as refusal:
        load_keys(ServerConfig(keys_file=file))
    assert PLAIN not in str(refusal.value)


def test_a_configuration_that_is_shown_hides_its_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASR__SERVER__API_KEYS", json.dumps([PLAIN]))
    config = AsrConfig.load(None)
    assert PLAIN not in f"{config} {config!r} {config.model_dump_json()}"
