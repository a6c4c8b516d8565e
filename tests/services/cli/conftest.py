"""Commands as users run them: in a process of their own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

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
