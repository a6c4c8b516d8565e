"""`voice up`: two services, one Ctrl-C."""

import os
import shutil
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


@pytest.mark.slow
def test_two_of_each_behind_nginx(environment: dict[str, str]) -> None:
    if shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin") is None:
        pytest.skip("nginx is not installed (Debian: apt-get install nginx-light)")
    port = free_port()
    command = [sys.executable, "-m", "services.cli.main", "up", "--instances", "2"]
    ports = ["--port", str(port), "--asr-port", str(free_port()), "--tts-port", str(free_port())]
    with subprocess.Popen(
        [*command, *ports], stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if line.startswith("all of them behind nginx"):
                break
        url = f"http://127.0.0.1:{port}/v1/synthesize"
        answer = httpx.post(url, json={"text": "hello"}, trust_env=False)
        assert answer.status_code == 200 and answer.content[:4] == b"RIFF"
        process.send_signal(signal.SIGTERM)
        said += process.stderr.readlines()
        assert process.wait(timeout=30) == 0
    assert sum(line.startswith(("asr is ready", "tts is ready")) for line in said) == 4
    with pytest.raises(httpx.ConnectError):
        httpx.get(url, trust_env=False)


@pytest.mark.slow
def test_without_nginx_it_says_so_loudly(environment: dict[str, str]) -> None:
    """`find_nginx` also looks where Debian puts it, so this is asked of `voice up` itself."""
    code = (
        "import services.balancer.process as process, services.cli.up as up\n"
        "def none():\n    raise process.BalancerFailed('nginx is not installed')\n"
        "up.find_nginx = none\nup.app()\n"
    )
    command = [sys.executable, "-c", code, "--instances", "2"]
    ports = ["--asr-port", str(free_port()), "--tts-port", str(free_port())]
    with subprocess.Popen(
        [*command, *ports], stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("NO LOAD BALANCING"):
                break
        else:
            pytest.fail("it said nothing of nginx")
        process.send_signal(signal.SIGINT)
        process.stderr.read()
        assert process.wait(timeout=30) == 0


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
