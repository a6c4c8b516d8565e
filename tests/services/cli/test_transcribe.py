"""`voice transcribe`, with a service that needs no models."""

import json
from pathlib import Path

import numpy as np
import pytest

from services.shared.media.wav import wav_bytes
from tests.services.cli.conftest import RunVoice


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """One second of 400 Hz, which the fake engine hears as five times `w4`."""
    tone = 0.3 * np.sin(2 * np.pi * 400 * np.arange(16_000) / 16_000)
    path = tmp_path / "tone.wav"
    path.write_bytes(wav_bytes(tone.astype(np.float32), 16_000))
    return path


def test_the_text_is_printed_and_nothing_else(voice: RunVoice, recording: Path) -> None:
    done = voice("transcribe", str(recording))
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == {"w4"}


def test_several_files_are_told_apart(voice: RunVoice, asr_url: str, recording: Path) -> None:
    done = voice("transcribe", str(recording), str(recording), "--json", "--url", asr_url)
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["duration_ms"] for answer in answers] == [1000, 1000]
    assert answers[0]["segments"][0]["words"][0]["word"] == "w4"


def test_subtitles(voice: RunVoice, asr_url: str, recording: Path) -> None:
    done = voice("transcribe", str(recording), "--vtt", "--url", asr_url)
    assert done.stdout.startswith("WEBVTT\n\n00:00:00.000 --> 00:00:01.")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["missing.wav"], "missing.wav is no file"),
        (["{recording}", "--url", "http://127.0.0.1:9"], "cannot be reached"),
    ],
)
def test_failures_are_one_sentence(
    voice: RunVoice, recording: Path, arguments: list[str], sentence: str
) -> None:
    done = voice("transcribe", *(each.format(recording=recording) for each in arguments))
    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_that_is_no_audio(voice: RunVoice, asr_url: str, tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("Dear Sir or Madam")
    done = voice("transcribe", str(path), "--url", asr_url)
    assert done.returncode == 1
    assert "file" in done.stderr and "Traceback" not in done.stderr
