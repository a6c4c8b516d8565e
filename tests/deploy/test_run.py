"""What a process of an installed release is told about itself."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

RUN = Path(__file__).parents[2] / "deploy" / "run"


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """Two releases, `current` leading to the newer one; their Pythons tell of which they are."""
    for name in ("v1.0-1-g1111111", "v1.0-2-g2222222"):
        release = tmp_path / "releases" / name
        python = release / ".venv" / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text('#!/bin/sh\necho "$VOICE_RELEASE $0 $*"\n')
        python.chmod(0o755)
        (release / "deploy").mkdir()
        shutil.copy(RUN, release / "deploy" / "run")
    (tmp_path / "current").symlink_to("releases/v1.0-2-g2222222")
    return tmp_path


def told(run: Path, **environment: str) -> list[str]:
    done = subprocess.run(
        [run, "services.asr", "--config", "a file"],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split(maxsplit=2)


def test_a_process_knows_its_release_and_keeps_to_it(machine: Path) -> None:
    release, python, rest = told(machine / "current/deploy/run", VOICE_RELEASE="another")
    assert release == "v1.0-2-g2222222"
    assert python == str(machine / "releases" / release / ".venv/bin/python")
    assert rest == "-P -m services.asr --config a file\n"
    older = machine / "releases/v1.0-1-g1111111"
    assert told(older / "deploy/run")[0] == older.name


def test_its_environment_can_be_another(machine: Path) -> None:
    newest = machine / "releases/v1.0-2-g2222222"
    newest.joinpath(".venv").rename(newest / ".venv-nemo")
    release, python, _ = told(machine / "current/deploy/run", VOICE_VENV=".venv-nemo")
    assert (release, python) == (newest.name, str(newest / ".venv-nemo/bin/python"))
