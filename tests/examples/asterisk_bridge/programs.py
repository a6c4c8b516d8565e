"""Everything of a phone agent but Asterisk as programs of their own, to be killed: no models."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import httpx

from examples.asterisk_bridge.bench.scripted_llm import Line

_ROOT = Path(__file__).parents[3]
_START_S = 60.0


@dataclass
class Program:
    """`python -m MODULE`, listening at a port that it keeps over its lives."""

    module: str
    arguments: Sequence[str] = ()
    environment: dict[str, str] = field(default_factory=dict)
    ready_path: str = "/health/ready"
    port: int = 0
    output: Path = Path(os.devnull)

    def __post_init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", self.module, *self.arguments],
                env={**os.environ, **self.environment},
                cwd=_ROOT,
                stdout=output,
                stderr=output,
            )

    def ready(self) -> None:
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.HTTPError):
                answer = httpx.get(f"{self.http}{self.ready_path}", timeout=1.0, trust_env=False)
                if answer.status_code == 200:
                    return
            time.sleep(0.05)
        raise TimeoutError(f"{self.module} is not ready")

    def suffer(self, sent: signal.Signals) -> None:
        """SIGKILL: it dies. SIGSTOP: it hangs."""
        os.kill(self.pid, sent)
        if sent is signal.SIGKILL:
            self.wait()

    def recover(self) -> None:
        """It is there again, whatever it suffered, as after a restart by systemd."""
        if self._process is None or self._process.poll() is not None:
            self.start()
        else:
            os.kill(self.pid, signal.SIGCONT)
        self.ready()

    def wait(self) -> None:
        assert self._process is not None
        self._process.wait(20)

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.kill()
            process.wait(20)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


@dataclass(frozen=True)
class Programs:
    asr: Program
    tts: Program
    llm: Program

    @property
    def all(self) -> tuple[Program, ...]:
        return self.asr, self.tts, self.llm


@contextlib.contextmanager
def running_programs(folder: Path, lines: Sequence[Line]) -> Iterator[Programs]:
    """Both services with their fake engines, and a language model with a script."""
    ports = [free_port() for _ in range(3)]
    script = folder / "lines.json"
    script.write_text(json.dumps([asdict(line) for line in lines]))
    asr = {"ASR__ENGINE__NAME": "fake", "ASR__VAD__NAME": "energy"}
    tts = {
        "TTS__ENGINES__PIPER__ENABLED": "false",
        "TTS__ENGINES__FAKE__ENABLED": "true",
        "TTS__ENGINES__FAKE__DELAY_MS": "150",
    }
    spoken = ["--port", str(ports[2]), "--lines", str(script), "--token-ms", "150"]
    programs = Programs(
        Program("services.asr", (), {**asr, "ASR__SERVER__PORT": str(ports[0])}, port=ports[0]),
        Program("services.tts", (), {**tts, "TTS__SERVER__PORT": str(ports[1])}, port=ports[1]),
        Program("examples.asterisk_bridge.bench.scripted_llm", spoken, {}, "/v1/models", ports[2]),
    )
    try:
        for program in programs.all:
            program.start()
        for program in programs.all:
            program.ready()
        yield programs
    finally:
        for program in programs.all:
            program.stop()
