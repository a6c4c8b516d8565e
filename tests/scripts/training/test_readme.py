"""The README's commands and paths exist."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from services.tts.config import EnginesConfig

README = (Path(__file__).parents[3] / "scripts/training/README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "name", ["prepare_audio_parquet", "create_manifest", "run_finetune", "evaluate"]
)
def test_every_command_has_the_options_that_are_shown(name: str) -> None:
    [command] = re.findall(rf"python -m scripts\.training\.{name} ((?:.*\\\n)*.*)", README)
    ran = subprocess.run(
        [sys.executable, "-m", f"scripts.training.{name}", "--help"],
        capture_output=True, text=True, timeout=50, check=True, env={"COLUMNS": "300"},
    )  # fmt: skip
    for option in re.findall(r"--[a-z-]+", command):
        assert option in ran.stdout


def test_the_service_understands_the_configuration() -> None:
    [block] = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    engines = EnginesConfig.model_validate(yaml.safe_load(block)["engines"])
    assert engines.fastpitch.voices[0].language == "vi"
