"""The application as a process: it starts, says why when it cannot, drains on SIGTERM."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import services.asr.service
from services.asr.app import create_app
from services.asr.config import AsrConfig, EngineConfig
from services.asr.engines.base import EngineError
from services.asr.engines.fake import FakeEngine
from services.shared.models.errors import ModelError
from services.shared.models.store import ModelStore
from services.shared.runtime.config import ConfigError, ServerConfig
from tests.services.asr.client import session
from tests.services.asr.conftest import Start, tones
from tests.services.asr.sounds import pcm, tone
from tests.services.serving import START_S, LiveService, eventually, serving, standstills

FAKE = "engine: {name: fake}\nvad: {name: energy}\nlog: {format: json}\n"


def run(config: Path, **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "services.asr", "--config", str(config)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


@pytest.fixture
def process(tmp_path: Path) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """A running process of the service, and its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    path = tmp_path / "asr.yaml"
    path.write_text(FAKE, encoding="utf-8")
    started = run(path, ASR__SERVER__PORT=str(port), ASR__SERVER__DRAIN_S="10")
    address = f"127.0.0.1:{port}"
    try:
        _until_ready(address)
        yield started, address
    finally:
        started.kill()
        started.communicate()


def _until_ready(address: str) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        try:
            if httpx.get(f"http://{address}/health/ready", trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise AssertionError("the service did not become ready")


async def test_sigterm_lets_a_live_session_finish(
    process: tuple["subprocess.Popen[str]", str],
) -> None:
    running, address = process
    async with session(f"ws://{address}") as caller:
        await caller.audio(pcm(tone(400, 1000)))
        running.send_signal(signal.SIGTERM)
        async with httpx.AsyncClient(trust_env=False) as client, asyncio.timeout(15):
            phase = "ready"
            while phase == "ready":
                phase = (await client.get(f"http://{address}/health/ready")).json()["phase"]
        assert phase == "draining"
        await caller.stop()
        assert caller.text == "w4 w4 w4 w4 w4"
    assert await asyncio.to_thread(running.wait, 20) == 0


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ("engine: {modell: x}\n", "engine.modell"),
        ("server: {host: 0.0.0.0}\n" + FAKE, "no API key"),
        ("engine: {model: whisper-giant}\n", "whisper-giant"),
    ],
    ids=["unknown key", "open door", "unknown model"],
)
def test_a_start_that_cannot_be_ends_with_one_sentence(
    tmp_path: Path, config: str, sentence: str
) -> None:
    path = tmp_path / "asr.yaml"
    path.write_text(config, encoding="utf-8")
    _, errors = run(path).communicate(timeout=30)
    assert sentence in errors
    assert errors.startswith("asr: ")
    assert "Traceback" not in errors


def test_a_missing_model_is_found_missing_at_once(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="voice models download"):
        create_app(AsrConfig(), ModelStore(tmp_path))


def test_a_door_open_to_others_needs_keys() -> None:
    config = tones(server=ServerConfig(host="0.0.0.0"))
    with pytest.raises(ConfigError, match="no API key is configured"):
        create_app(config)
    create_app(tones(server=ServerConfig(host="0.0.0.0", allow_unauthenticated=True)))


class SlowEngine(FakeEngine):
    def __init__(self) -> None:
        super().__init__()
        self.loaded = threading.Event()

    def load(self) -> None:
        assert self.loaded.wait(30)


class LoadlessEngine(FakeEngine):
    def load(self) -> None:
        time.sleep(0.3)
        raise EngineError("this machine has no CUDA device")


def test_it_lives_at_once_and_is_ready_when_warm(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = SlowEngine()
    monkeypatch.setattr(services.asr.service, "create_engine", lambda *_: engine)
    with serving(create_app(tones()), wait_ready=False) as service:
        live = httpx.get(f"{service.http}/health/live", trust_env=False)
        ready = httpx.get(f"{service.http}/health/ready", trust_env=False)
        upload = httpx.post(f"{service.http}/v1/transcribe", trust_env=False)
        assert (live.status_code, ready.status_code) == (200, 503)
        assert ready.json()["phase"] == "starting"
        assert (upload.status_code, upload.json()["code"]) == (503, "overloaded")
        engine.loaded.set()
        _until_ready(service.address)


def test_a_model_that_does_not_load_ends_the_service(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(services.asr.service, "create_engine", lambda *_: LoadlessEngine())
    app = create_app(tones())
    with serving(app, wait_ready=False) as service:
        service.join()
        assert service.lifecycle.failure == "EngineError: this machine has no CUDA device"


async def test_health_metrics_and_documentation(live: LiveService) -> None:
    async with httpx.AsyncClient(trust_env=False, base_url=live.http) as client:
        assert (await client.get("/health/live")).json() == {"live": True, "hung": []}
        ready = (await client.get("/health/ready")).json()
        assert (ready["ready"], ready["phase"]) == (True, "ready")
        assert (await client.get("/docs")).status_code == 200
        schema = (await client.get("/openapi.json")).json()
        metrics = (await client.get("/metrics")).text
    body = schema["paths"]["/v1/transcribe"]["post"]["requestBody"]
    fields = body["content"]["multipart/form-data"]["schema"]["properties"]
    assert set(fields) == {"file", "language", "word_timestamps", "prompt", "hotwords"}
    for name in ("voice_sessions", "voice_asr_final_seconds", "voice_asr_dropped_audio_seconds"):
        assert re.search(rf"^# HELP {name}", metrics, re.MULTILINE)


async def test_metrics_count_what_happened(start_service: Start) -> None:
    service = start_service()
    async with session(service.ws) as caller:
        await caller.audio(pcm(tone(400, 1000)))
        await caller.stop()
    assert service.metric("voice_asr_audio_seconds_total") == pytest.approx(1.0)
    assert service.metric("voice_asr_finals_total", suppressed="no") == 1
    assert service.metric("voice_asr_dropped_audio_seconds_total") == 0
    assert service.metric("voice_sessions_opened_total") == 1
    await eventually(lambda: service.metric("voice_sessions") == 0)


@pytest.mark.models
def test_the_default_service_is_ready_in_ten_seconds(model_store: ModelStore) -> None:
    began = time.monotonic()
    with standstills() as stood:
        app = create_app(AsrConfig(engine=EngineConfig(short_context="partials")), model_store)
        with serving(app):
            took_s = time.monotonic() - began
    assert took_s < 10 + stood.total_s
