"""`voice voices` against a service in a process of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from services.cli.processes import free_port
from tests.services.cli.conftest import FAKE, RunVoice
from tests.services.tts.cloning.recordings import STATEMENT, buzz, wav


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """A service that clones."""
    cloning = {
        "TTS__ENGINES__FAKE__CLONING": "true",
        "TTS__VOICES__STORE": str(tmp_path / "voices"),
        "TTS__VOICES__REFERENCE__VAD": "energy",
        "TTS__SERVER__PORT": str(port := free_port()),
    }
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "services.tts"]
    with subprocess.Popen(command, env=os.environ | FAKE | cloning) as process:
        try:
            for _ in range(600):
                if _ready(url):
                    break
                time.sleep(0.05)
            yield url
        finally:
            process.terminate()


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/ready", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.slow
def test_a_voice_is_added_heard_renamed_and_deleted(
    voice: RunVoice, url: str, tmp_path: Path
) -> None:
    recording, out = tmp_path / "ada.wav", tmp_path / "sample.wav"
    recording.write_bytes(wav(buzz(150, 5)))
    wanted = ("--name", "Ada", "--language", "en-US", "--consent", STATEMENT)
    added = voice("voices", "add", str(recording), *wanted, "--url", url)
    assert added.returncode == 0, added.stderr
    made = added.stdout.strip()
    assert voice("voices", "rename", made, "Grace", "--url", url).returncode == 0
    listed = voice("voices", "list", "--url", url).stdout
    assert made in listed
    assert "Grace" in listed
    assert voice("voices", "sample", made, "-o", str(out), "--url", url).returncode == 0
    assert out.read_bytes().startswith(b"RIFF")
    assert voice("voices", "delete", made, "--url", url).returncode == 0
    again = voice("voices", "delete", made, "--url", url)
    assert again.returncode == 1
    assert "you have no cloned voice" in again.stderr
