"""`voice up`: two services, one Ctrl-C."""

import signal
import socket
import subprocess
import sys

import httpx
import pytest

from services.cli.processes import free_port
from tests.services.cli.conftest import RunVoice


def test_ctrl_c_drains_both(environment: dict[str, str]) -> None:
    asr, tts = free_port(), free_port()
    command = [sys.executable, "-m", "services.cli.main", "up"]
    ports = ["--asr-port", str(asr), "--tts-port", str(tts)]
    with subprocess.Popen(
        [*command, *ports], stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if line.startswith("tts is ready"):
                break
        for port in (asr, tts):
            answer = httpx.get(f"http://127.0.0.1:{port}/health/ready", trust_env=False)
            assert answer.json()["ready"] is True
        process.send_signal(signal.SIGINT)
        said += process.stderr.readlines()
        assert process.wait(timeout=30) == 0
    everything = "".join(said)
    assert "asr │ " in everything and "tts │ " in everything
    assert "draining" in everything
    for port in (asr, tts):
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"http://127.0.0.1:{port}/health/live", trust_env=False)


def test_a_taken_port_is_one_sentence(voice: RunVoice) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = voice("up", "--asr-port", str(port), "--tts-port", str(free_port()))
    assert done.returncode == 1
    assert f"port {port} is taken" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_service_that_cannot_start_says_why(voice: RunVoice, environment: dict[str, str]) -> None:
    environment["ASR__ENGINE__NAME"] = "faster_whisper"
    done = voice("up", "--asr-port", str(free_port()), "--tts-port", str(free_port()))
    assert done.returncode == 1
    assert "voice models download" in done.stderr
    assert "Traceback" not in done.stderr
