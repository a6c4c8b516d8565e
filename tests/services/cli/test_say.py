"""`voice say`, with an engine that speaks in tones."""

from pathlib import Path

import pytest

from services.shared.media.decode import decode_audio
from tests.services.cli.conftest import RunVoice


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "ogg"])
def test_the_suffix_decides_the_format(
    voice: RunVoice, tts_url: str, tmp_path: Path, suffix: str
) -> None:
    out = tmp_path / f"out.{suffix}"
    done = voice("say", "one two three", "-o", str(out), "--rate", "24000", "--url", tts_url)
    assert done.returncode == 0, done.stderr
    samples = decode_audio(out, sample_rate=16_000, max_duration_s=60)
    assert len(samples) > 0.3 * 16_000


def test_text_may_come_from_the_input(voice: RunVoice, tmp_path: Path) -> None:
    out = tmp_path / "out.wav"
    done = voice("say", "-", "-o", str(out), stdin="from the input")
    assert done.returncode == 0, done.stderr
    data = out.read_bytes()
    assert int.from_bytes(data[4:8], "little") == len(data) - 8
    assert int.from_bytes(data[40:44], "little") == len(data) - 44


def test_an_unknown_voice_is_told_with_the_known_ones(
    voice: RunVoice, tts_url: str, tmp_path: Path
) -> None:
    out = tmp_path / "out.wav"
    done = voice("say", "hello", "-o", str(out), "--voice", "nobody", "--url", tts_url)
    assert done.returncode == 1
    assert "nobody" in done.stderr and "there are" in done.stderr
    assert not out.exists()


def test_an_unknown_suffix_is_refused_before_anything_starts(
    voice: RunVoice, tmp_path: Path
) -> None:
    done = voice("say", "hello", "-o", str(tmp_path / "out.doc"))
    assert done.returncode == 2
    assert ".wav" in done.stderr
