import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.cli.main import COMMANDS, app
from services.shared.models.catalogue import load_catalogue
from services.shared.models.store import ModelStore

HERE = Path(__file__).parents[3]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty model folder, and no package index or hub to be reached."""
    monkeypatch.setenv("VOICE_MODELS_DIR", str(tmp_path))
    monkeypatch.setenv("VOICE_INDEX_URL", "file:///nowhere")
    monkeypatch.setenv("HF_ENDPOINT", "file:///nowhere")
    monkeypatch.setenv("COLUMNS", "120")
    return tmp_path


def voice(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["models", *arguments])
    return result.exit_code, result.output


def test_list_shows_every_model_and_its_state(root: Path) -> None:
    (root / "silero-vad").mkdir()

    code, output = voice("list")

    assert code == 0
    lines = {words[0]: words for line in output.splitlines() if (words := line.split())}
    assert set(load_catalogue().ids) <= set(lines)
    assert lines["silero-vad"][-1] == "corrupt"
    assert lines["whisper-small"][-4:] == ["486.2", "MB", "MIT", "missing"]


def test_an_unknown_model_is_an_error_that_lists_the_known(root: Path) -> None:
    for command in ("download", "verify", "remove"):
        code, output = voice(command, "whisper-[huge]")
        assert code == 2
        assert "no model 'whisper-[huge]'" in output and "whisper-tiny.en" in output


def test_a_download_that_fails_ends_with_one_sentence(root: Path) -> None:
    code, output = voice("download", "silero-vad")

    assert code == 1
    assert "model silero-vad was not downloaded" in output
    assert "Traceback" not in output


def test_verify_fails_for_a_damaged_and_for_a_missing_model(root: Path) -> None:
    (root / "silero-vad").mkdir()
    (root / "silero-vad" / "silero_vad.onnx").write_bytes(b"x")

    code, output = voice("verify")
    assert code == 1
    assert "model silero-vad is damaged (silero_vad.onnx has 1 of 2327524 bytes)" in output
    assert "`uv run voice models download silero-vad`" in output

    code, output = voice("verify", "whisper-small")
    assert code == 1 and "model whisper-small is not in" in output


def test_verify_of_nothing(root: Path) -> None:
    assert voice("verify") == (0, f"no models in {root}\n")


def test_remove(root: Path) -> None:
    (root / "silero-vad").mkdir()

    assert voice("remove", "silero-vad") == (0, "removed silero-vad\n")
    assert voice("remove", "silero-vad") == (0, "was not here: silero-vad\n")
    assert not (root / "silero-vad").exists()


@pytest.mark.models
def test_models_that_are_there_verify_and_need_no_network(
    model_store: ModelStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOICE_MODELS_DIR", str(model_store.root))

    code, output = voice("download")
    assert code == 0 and output.count("ready") == len(model_store.catalogue.default_ids)
    code, output = voice("verify", *model_store.catalogue.default_ids)
    assert code == 0 and output.count("ok") == len(model_store.catalogue.default_ids)


def test_the_script_does_the_same(root: Path) -> None:
    script = HERE / "scripts" / "download_models.py"
    done = subprocess.run(
        [sys.executable, str(script), "nope"], capture_output=True, text=True, timeout=30
    )

    assert done.returncode == 2
    assert "there is no model 'nope'" in done.stderr


def test_every_command_can_be_loaded() -> None:
    result = CliRunner().invoke(app, ["--help"])

    assert result.exit_code == 0
    for command in COMMANDS:
        assert command.name in result.output


def test_listing_loads_nothing_heavy(root: Path) -> None:
    heavy = {"httpx", "numpy", "av", "onnxruntime", "faster_whisper", "fastapi", "piper"}
    code = (
        "import sys; from services.cli.main import app; "
        "app(['models', 'list'], standalone_mode=False); "
        f"print('loaded:', sorted({heavy} & set(sys.modules)))"
    )
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert done.stdout.splitlines()[-1] == "loaded: []", done.stderr
    assert time.monotonic() - start < 10
