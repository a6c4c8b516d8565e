"""From parquet shards to speech out of the TTS service, with NeMo and espeak-ng's Vietnamese."""

import contextlib
import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml

from scripts.training.clips import ClipSettings
from scripts.training.create_manifest import create_manifest
from scripts.training.prepare_audio_parquet import prepare
from scripts.training.selection import Limits
from scripts.training.shards import list_shards
from scripts.training.splits import Shares
from services.shared.media.decode import decode_audio
from tests.scripts.training.speakers import ESPEAK, NO_ESPEAK, SENTENCES, SPEAKERS, say, write_shard
from tests.services.tts.engines.fastpitch.models import save_vocoder, small_vocoder_config

pytestmark = [
    pytest.mark.nemo,
    pytest.mark.timeout(600),
    pytest.mark.skipif(ESPEAK is None, reason=NO_ESPEAK),
    pytest.mark.skipif(
        importlib.util.find_spec("nemo") is None or importlib.util.find_spec("bigvgan") is None,
        reason="NeMo or BigVGAN is not installed; run in the environment of dependency group nemo",
    ),
    pytest.mark.filterwarnings("ignore"),  # of the libraries, which are many
]

SMALL = (
    "model.symbols_embedding_dim=64",
    "model.input_fft.n_layer=2",
    "model.output_fft.n_layer=2",
    "model.input_fft.d_inner=128",
    "model.output_fft.d_inner=128",
    "model.duration_predictor.filter_size=64",
    "model.pitch_predictor.filter_size=64",
    "trainer.accelerator=cpu",
    "trainer.log_every_n_steps=1",
    "batch_size=8",
    "workers=0",
)
THREADS = {"OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four speakers, eight sentences each."""
    root = tmp_path_factory.mktemp("vietnamese")
    shards = root / "shards"
    shards.mkdir()
    for number, speaker in enumerate(SPEAKERS):
        rows = [(say(text, speaker), text, speaker.name) for text in SENTENCES]
        write_shard(shards / f"train-{number:05d}-of-00004.parquet", rows)
    settings = ClipSettings(vad="energy")
    found = prepare(list_shards([shards]), root / "clips", settings, processes=1)
    assert (found.clips, found.failures, found.broken) == (32, {}, ())
    shares = Shares(0.13, 0.1)
    create_manifest(
        root / "clips", root / "manifests", limits=Limits(), by="clips", shares=shares, seed=1
    )
    return root / "manifests"


@pytest.fixture(scope="module")
def trained(manifests: Path) -> Path:
    """The folder of a short run of a small model."""
    out = manifests.parent / "run"
    _finetune(manifests, out, "trainer.max_epochs=14", "model.optim.lr=1e-3")
    return out


def test_the_loss_falls_and_validation_is_watched(trained: Path) -> None:
    losses, validations = _logged(trained / "run", "t_loss"), _logged(trained / "run", "val_loss")
    assert len(losses) >= 50
    part = len(losses) // 5
    assert np.mean(losses[-part:]) < 0.8 * np.mean(losses[:part])
    assert len(validations) == 14
    assert validations[-1] < validations[0]
    kept = [path.name for path in (trained / "run/checkpoints").glob("*.ckpt")]
    assert len([name for name in kept if not name.endswith("-last.ckpt")]) == 3
    assert len([name for name in kept if name.endswith("-last.ckpt")]) == 1


def test_pitch_is_found_once_and_is_that_of_the_speakers(manifests: Path, trained: Path) -> None:
    [kept] = (manifests / "sup_data").glob("*/pitch.json")
    pitch = json.loads(kept.read_text())
    assert 80 < pitch["mean"] < 250  # espeak-ng's men
    assert 5 < pitch["std"] < 100
    clips = len((manifests / "train.jsonl").read_text().splitlines())
    assert len(list(kept.parent.glob("train/pitch/*.pt"))) == clips


def test_the_same_command_goes_on_where_it_was(manifests: Path, trained: Path) -> None:
    told = _finetune(manifests, trained, "trainer.max_epochs=15", "model.optim.lr=1e-3")
    assert "Restored all states" in told
    assert "pitch of train" not in told
    assert len(_logged(trained / "run", "val_loss", newest=True)) == 1


def test_the_service_speaks_with_the_trained_model(trained: Path, tmp_path: Path) -> None:
    vocoder = save_vocoder(tmp_path / "vocoder", small_vocoder_config(fmax=None))
    voice = {
        "id": "vi",
        "name": "Tiếng Việt",
        "model": str(trained / "fastpitch_vi.nemo"),
        "vocoder": str(vocoder),
        "language": "vi",
        "licence": "none",
        "speaker": 2,
    }
    with _service(voice, tmp_path) as url:
        short = _spoken(url, "Xin chào.")
        long = _spoken(url, "Xin chào quý khách, giá vé là 150.000 đồng.")
    assert 0.05 < len(short) / 22_050 < len(long) / 22_050
    assert np.abs(long).max() > 1e-3


def test_a_vocoder_of_other_mel_settings_is_refused(trained: Path, tmp_path: Path) -> None:
    from services.tts.engines.base import EngineUnavailable
    from services.tts.engines.fastpitch.mel import bigvgan_mel, check_match, nemo_mel

    config = _config_of(trained / "fastpitch_vi.nemo")
    ours = nemo_mel(config["preprocessor"])
    check_match(ours, bigvgan_mel(small_vocoder_config(fmax=None)), ("vi", "vocoder"))
    with pytest.raises(EngineUnavailable, match="8000"):
        check_match(ours, bigvgan_mel(small_vocoder_config(fmax=8000)), ("vi", "vocoder"))


def _finetune(manifests: Path, out: Path, *overrides: str) -> str:
    """Run the command as people do; gives what it said."""
    command = [sys.executable, "-m", "scripts.training.run_finetune"]
    command += [f"manifests={manifests}", f"out={out}", *SMALL, *overrides]
    ran = subprocess.run(
        command, capture_output=True, text=True, timeout=500, env=os.environ | THREADS, check=False
    )
    said = ran.stdout + ran.stderr
    assert ran.returncode == 0, said[-3000:]
    return said


def _logged(folder: Path, name: str, *, newest: bool = False) -> list[float]:
    """What TensorBoard shows."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    files = sorted(folder.rglob("events.out.tfevents.*"), key=lambda path: path.stat().st_mtime)
    events = EventAccumulator(str(files[-1] if newest else files[0]))
    events.Reload()
    return [event.value for event in events.Scalars(name)]


def _config_of(path: Path) -> dict[str, Any]:
    import tarfile

    with tarfile.open(path) as archive:
        [member] = [one for one in archive if one.name.endswith("model_config.yaml")]
        content = archive.extractfile(member)
        assert content is not None
        config: dict[str, Any] = yaml.safe_load(content.read())
    return config


@contextlib.contextmanager
def _service(voice: dict[str, Any], folder: Path) -> Iterator[str]:
    """The TTS service in a process of its own, ready."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = {
        "server": {"host": "127.0.0.1", "port": port},
        "engines": {
            "piper": {"enabled": False},
            "fastpitch": {
                "enabled": True,
                "device": "cpu",
                "threads": 1,
                "isolated": False,
                "voices": [voice],
            },
        },
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    log = folder / "service.log"
    with log.open("w") as output:
        command = [sys.executable, "-m", "services.tts", "--config", str(path)]
        process = subprocess.Popen(command, stdout=output, stderr=output, env=os.environ | THREADS)
    try:
        url = f"http://127.0.0.1:{port}"
        end = time.monotonic() + 150
        while not _ready(url):
            assert process.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < end, log.read_text()[-3000:]
            time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def _ready(url: str) -> bool:
    try:
        answer = httpx.get(f"{url}/health/ready", trust_env=False, timeout=5)
    except httpx.TransportError:
        return False
    return answer.status_code == 200


def _spoken(url: str, text: str) -> Any:
    wanted = {"text": text, "voice": "vi", "format": "flac"}
    answer = httpx.post(f"{url}/v1/synthesize", json=wanted, trust_env=False, timeout=60)
    assert answer.status_code == 200, answer.text
    return decode_audio(answer.content, sample_rate=22_050, max_duration_s=120)
