"""Evaluation against both services live (tones for speech, an ASR that tells their pitch)."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.training.evaluate import Services
from services.asr.app import create_app as asr_app
from services.asr.config import AsrConfig, EngineConfig, VadConfig
from services.shared.media.wav import wav_bytes
from services.tts.app import create_app as tts_app
from services.tts.config import EnginesConfig, FakeEngineConfig, PiperEngineConfig, TtsConfig
from tests.scripts.training.tones import tone
from tests.services.serving import serving


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    engines = EnginesConfig(
        piper=PiperEngineConfig(enabled=False), fake=FakeEngineConfig(enabled=True)
    )
    speaks = TtsConfig(engines=engines)
    hears = AsrConfig(engine=EngineConfig(name="fake"), vad=VadConfig(name="energy"))
    with (
        serving(tts_app(speaks), speaks.limits) as tts,
        serving(asr_app(hears), hears.limits) as asr,
    ):
        yield Services(tts.http, "fake-vi", asr.http)


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    clip = tmp_path / "clip.wav"
    clip.write_bytes(wav_bytes(tone(1.0, 22_050), 22_050))
    texts = ("w3 w3 w3 w3 w3", "Giá 5 <nghìn> đồng")
    lines = [json.dumps({"audio_filepath": str(clip), "text": text}) for text in texts]
    path = tmp_path / "test.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _evaluate(manifest: Path, services: Services, *options: str) -> tuple[int, str]:
    """Run the command as people do, outside of the services' process."""
    command = [sys.executable, "-m", "scripts.training.evaluate", str(manifest)]
    command += [str(manifest.parent / "out"), "--voice", services.voice]
    command += ["--tts", services.tts, "--asr", services.asr, *options]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    return ran.returncode, ran.stderr


def _result(manifest: Path) -> dict[str, Any]:
    path = manifest.parent / "out/evaluation.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def test_speech_and_recordings_are_judged_side_by_side(services: Services, manifest: Path) -> None:
    code, told = _evaluate(manifest, services)
    assert code == 0, told
    found, out = _result(manifest), manifest.parent / "out"
    perfect, wrong = found["samples"]
    assert perfect["recording"]["cer"] == 0
    assert wrong["recording"]["cer"] > 0.5
    assert 1 <= found["recordings"]["mos_mean"] <= 5
    assert found["speech"]["characters"] == found["recordings"]["characters"]
    page = (out / "index.html").read_text(encoding="utf-8")
    assert "Giá 5 &lt;nghìn&gt; đồng" in page
    for sample in found["samples"]:
        for judged in (sample["speech"], sample["recording"]):
            assert f'src="{judged["audio"]}"' in page
            assert (out / judged["audio"]).stat().st_size > 100


def test_some_sentences_without_recordings(services: Services, manifest: Path) -> None:
    code, told = _evaluate(manifest, services, "--no-recordings", "--sentences", "1")
    assert code == 0, told
    found = _result(manifest)
    assert (found["sentences"], "recordings" in found) == (1, False)
    assert found["samples"][0]["recording"] is None


def test_a_service_that_is_not_there_is_told(manifest: Path) -> None:
    nowhere = Services("http://127.0.0.1:9", "fake-vi", "http://127.0.0.1:9")
    code, told = _evaluate(manifest, nowhere)
    assert code == 1
    assert "http://127.0.0.1:9" in told
