"""The whole command against a real service with the engine that speaks in tones."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from services.bench.cli import app


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["tts", *arguments], terminal_width=200)


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, ...]:
    config = tmp_path / "config.yaml"
    config.write_text("engines: {piper: {enabled: false}, fake: {enabled: true, delay_ms: 2}}\n")
    sentences = tmp_path / "sentences.txt"
    sentences.write_text("One two three, go on now.\nAnother one is here.\nThat is all.\n")
    return "--config", str(config), "--sentences", str(sentences), "--out", str(tmp_path)


def _result(folder: Path) -> dict[str, Any]:
    [path] = folder.glob("tts-*.json")
    result: dict[str, Any] = json.loads(path.read_text())
    return result


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_run_measures_every_level_and_feed(tmp_path: Path, files: tuple[str, ...]) -> None:
    run = _run(
        *("--concurrency", "1,3", "--count", "9", "--no-quality", "--tokens-per-s", "200"),
        *files,
    )
    assert run.exit_code == 0, run.output
    result = _result(tmp_path)
    assert [(each["concurrency"], each["feed"]) for each in result["levels"]] == [
        (1, "tokens"),
        (1, "whole"),
        (3, "tokens"),
        (3, "whole"),
    ]
    for level in result["levels"]:
        assert level["answers"] == 9 == level["completed"] + level["cancelled"]
        assert level["errors"] == []
        assert level["bytes_after_cancelled"] == 0
        assert level["first_audio_ms"]["p50"] < 1000
        assert level["length_error_ms"]["max"] <= 1
        assert level["audio_s"] > 5
    assert {each["format"] for each in result["formats"]} >= {"wav", "mp3", "ogg", "mulaw"}
    assert all(abs(each["error_ms"]) <= 30 for each in result["formats"])
    assert result["cache"]["hit_ms"]["count"] == 50
    [picture] = tmp_path.glob("tts-*.png")
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_voice_that_is_not_there_is_a_loss(tmp_path: Path, files: tuple[str, ...]) -> None:
    run = _run(
        *("--concurrency", "1", "--count", "2", "--voice", "nobody", "--feed", "whole"),
        *("--no-quality", "--no-formats"),
        *files,
    )
    assert run.exit_code == 1
    assert "fake-en" in run.output
    assert len(_result(tmp_path)["levels"][0]["errors"]) == 2


@pytest.mark.parametrize(
    ("option", "value"), [("--concurrency", "0"), ("--concurrency", "a,b"), ("--feed", "drip")]
)
def test_options_that_mean_nothing_are_refused(option: str, value: str) -> None:
    run = _run(option, value)
    assert run.exit_code == 2
    assert option in run.output
