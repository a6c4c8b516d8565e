"""The exported voice says what the original says."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from services.tts.engines.base import AudioPiece, EngineUnavailable, SynthesisRequest, TtsEngine
from services.tts.engines.fastpitch.engine import FastPitchEngine
from services.tts.engines.fastpitch.export import export_voice
from services.tts.engines.fastpitch.onnx_engine import ExportedSource, FastPitchOnnxEngine

ROOT = Path(__file__).parents[5]
TEXTS = {
    "arpabet": "Hello there, don't read the airports' apples! Oi?",
    "ipa": "Hello there, don't read the airports' apples! Oi?",
    "vietnamese": "Xin chào các bạn. Tôi có 3 quả táo!",
}

pytestmark = [pytest.mark.nemo, pytest.mark.timeout(120)]


def pieces(engine: TtsEngine, text: str, voice: str, speed: float) -> list[AudioPiece]:
    return list(engine.synthesize(SynthesisRequest(text, voice, speed=speed)))


@pytest.mark.parametrize(
    ("voice", "vocoder", "language", "speaker"),
    [("ipa", "english", "en-US", 2), ("vietnamese", "full", "vi-VN", 0)],
)
def test_the_same_audio_and_times(
    fastpitch_engine: FastPitchEngine,
    fastpitch_files: Path,
    tmp_path: Path,
    voice: str,
    vocoder: str,
    language: str,
    speaker: int,
) -> None:
    model = str(fastpitch_files / f"{voice}.nemo")
    export_voice(model, str(fastpitch_files / vocoder), tmp_path, language)
    exported = FastPitchOnnxEngine(
        [ExportedSource(voice, "X", tmp_path, language, "none", speaker=speaker)], threads=1
    )
    exported.load()
    for speed in (1.0, 1.4):
        original = pieces(fastpitch_engine, TEXTS[voice], voice, speed)
        repeated = pieces(exported, TEXTS[voice], voice, speed)
        assert len(original) == len(repeated) > 2
        for one, other in zip(original, repeated, strict=True):
            assert one.words == other.words
            np.testing.assert_allclose(one.samples, other.samples, atol=1e-4)


def test_the_script(fastpitch_files: Path, tmp_path: Path) -> None:
    command = [
        *(sys.executable, str(ROOT / "scripts" / "export_onnx.py")),
        *("--model", str(fastpitch_files / "arpabet.nemo")),
        *("--vocoder", str(fastpitch_files / "english")),
        *("--language", "en-US", "--output", str(tmp_path / "out")),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "en-US, 1 speaker(s), 22050 Hz" in done.stdout
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("voice.json", "dictionary.json", "encoder.onnx", "decoder.onnx", "vocoder.onnx")
    }


def test_a_pair_that_does_not_fit_is_not_exported(fastpitch_files: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match="fmax"):
        export_voice(
            str(fastpitch_files / "arpabet.nemo"), str(fastpitch_files / "full"), tmp_path, "en-US"
        )
    assert not list(tmp_path.iterdir())
