"""The whole command against a real service with the engine that needs no model."""

import json
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from services.bench.cli import app
from services.shared.audio.pcm import to_int16

# 600 ms of 400 Hz; the fake engine names each 200 ms by its pitch.
TEXT = "w4 w4 w4"


def _run(arguments: Sequence[str]) -> Result:
    return CliRunner().invoke(app, ["asr", *arguments], terminal_width=200)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    times = np.arange(9600) / 16_000
    tone = (0.5 * np.sin(2 * np.pi * 400 * times)).astype(np.float32)
    lines = []
    for name in ("a", "b"):
        with av.open(str(tmp_path / f"{name}.flac"), "w") as container:
            stream = container.add_stream("flac", rate=16_000, layout="mono")
            frame = av.AudioFrame.from_ndarray(to_int16(tone)[None], "s16", "mono")
            frame.rate = 16_000
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        lines.append(json.dumps({"audio": f"{name}.flac", "text": TEXT, "language": "en"}))
    path = tmp_path / "corpus.jsonl"
    path.write_text("\n".join(lines))
    return path


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text("engine: {name: fake}\nvad: {name: energy, pre_roll_ms: 0}\n")
    return path


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("levels", "wire"), [([1, 3], []), ([2], ["--encoding", "mulaw", "--sample-rate", "8000"])]
)
def test_measures_a_service_that_it_starts(
    corpus: Path, config: Path, tmp_path: Path, levels: list[int], wire: list[str]
) -> None:
    out = tmp_path / "out"
    bounds = ["--concurrency", ",".join(map(str, levels)), "--files", "1", "--no-offline"]
    places = ["--corpus", str(corpus), "--config", str(config), "--out", str(out)]
    result = _run([*bounds, *places, *wire])
    assert result.exit_code == 0, result.output
    [written] = out.glob("*.json")
    told = json.loads(written.read_text())
    assert [level["concurrency"] for level in told["levels"]] == levels
    for level in told["levels"]:
        assert {word for one in level["passages"] for word in one["streaming"].split()} == {"w4"}
        assert level["final_ms"]["count"] == level["utterances"] == level["concurrency"]
        assert 0 < level["final_ms"]["p50"] < 5000
        assert level["load"]["rss_mb"] > 10
        assert level["load"]["loop_lag_p99_ms"] is not None
    assert (out / written.name.replace(".json", ".png")).read_bytes().startswith(b"\x89PNG")
    assert "end of speech → final" in result.output


@pytest.mark.slow
def test_losses_end_in_a_failure(corpus: Path, tmp_path: Path) -> None:
    """Nobody listens at that address: every call fails."""
    arguments = ["--url", "http://127.0.0.1:9", "--concurrency", "1", "--no-offline"]
    result = _run([*arguments, "--corpus", str(corpus), "--out", str(tmp_path)])
    assert result.exit_code == 1
    assert "1 calls failed" in result.output
    assert "2 recordings without a final" in result.output


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--concurrency", "1,x"], "1,4,8"),
        (["--concurrency", "0"], "1,4,8"),
        (["--encoding", "mp3"], "pcm_s16le"),
        (["--corpus", "nowhere.jsonl"], "nowhere.jsonl cannot be read"),
        (["--config", "nowhere.yaml"], "nowhere.yaml does not exist"),
    ],
)
def test_bad_arguments_get_a_sentence(
    arguments: list[str], sentence: str, corpus: Path, tmp_path: Path
) -> None:
    base = ["--no-offline", "--corpus", str(corpus), "--out", str(tmp_path)]
    result = _run([*base, *arguments])
    assert result.exit_code in (1, 2)
    assert sentence in result.output
