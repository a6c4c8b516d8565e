"""Commands as users run them: in a process of their own."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from services.cli.processes import ServiceName, free_port

RunVoice = Callable[..., "subprocess.CompletedProcess[str]"]

FAKE = {
    "ASR__ENGINE__NAME": "fake",
    "ASR__VAD__NAME": "energy",
    "TTS__ENGINES__FAKE__ENABLED": "true",
    "TTS__ENGINES__PIPER__ENABLED": "false",
}
"""Services that need no models."""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The environment of a command whose services need no models."""
    return os.environ | FAKE | {"VOICE_MODELS_DIR": str(tmp_path / "models"), "COLUMNS": "200"}


@pytest.fixture
def voice(environment: dict[str, str]) -> RunVoice:
    """Runs `voice …` to its end."""

    def run_voice(*arguments: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "services.cli.main", *arguments],
            capture_output=True,
            text=True,
            input=stdin,
            timeout=50,
            env=environment,
            check=False,
        )

    return run_voice


@pytest.fixture(scope="module")
def asr_url() -> Iterator[str]:
    """A service that is already running, which spares most tests the start of one."""
    with _service("asr") as url:
        yield url


@pytest.fixture(scope="module")
def tts_url() -> Iterator[str]:
    with _service("tts") as url:
        yield url


@contextmanager
def _service(name: ServiceName) -> Iterator[str]:
    url = f"http://127.0.0.1:{(port := free_port())}"
    environment = os.environ | FAKE | {f"{name.upper()}__SERVER__PORT": str(port)}
    command = [sys.executable, "-m", f"services.{name}"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            _wait_until_ready(url)
            yield url
        finally:
            process.terminate()


def _wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/health/ready", trust_env=False).status_code == 200:
                return
        except httpx.ConnectError:
            pass
        time.sleep(0.1)
    raise TimeoutError(f"{url} is not ready")
