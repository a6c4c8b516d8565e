"""The whole command: real Asterisk, ASR, TTS and bridge, with calls as short as they can be."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from services.bench.cli import app

REAL = [pytest.mark.asterisk, pytest.mark.models, pytest.mark.slow, pytest.mark.timeout(240)]


SCRIPT = Path(__file__).parents[4] / "scripts" / "make_llm_bench.sh"


@pytest.fixture(scope="session")
def smollm2() -> None:
    """A real language model beside Asterisk, made when it is not there yet."""
    done = subprocess.run([SCRIPT], capture_output=True, text=True, timeout=900)
    if done.returncode == 3:
        pytest.skip(f"NO LANGUAGE MODEL: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr


def bench(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["call", *arguments], terminal_width=200)


def test_it_is_found_among_the_benchmarks() -> None:
    result = CliRunner().invoke(app, ["--help"])
    assert {"asr", "tts", "call"} <= set(re.findall(r"^│ (\w+) ", result.output, re.MULTILINE))


@pytest.mark.parametrize(
    "arguments, complaint",
    [
        (["--media", "pigeon"], "pigeon"),
        (["--concurrency", "none"], "none"),
        (["--sip", "somewhere"], "host:port"),
        (["--short", "--sip", "127.0.0.1:5060"], "leave --sip out"),
    ],
)
def test_wrong_options_are_told(arguments: list[str], complaint: str, tmp_path: Path) -> None:
    result = bench(*arguments, "--out", str(tmp_path))
    assert result.exit_code != 0
    assert complaint in result.output


@pytest.mark.usefixtures("asterisk_root", "model_store", "smollm2")
@pytest.mark.parametrize(
    "media, llm",
    [
        pytest.param("websocket", "smollm2", marks=REAL),
        pytest.param("rtp", "scripted", marks=REAL),
    ],
)
def test_calls_are_measured(media: str, llm: str, tmp_path: Path) -> None:
    few = ["--concurrency", "1,2", "--calls", "1", "--turns", "1"]
    result = bench(*few, "--media", media, "--llm", llm, "--record", "--out", str(tmp_path))
    assert result.exit_code == 0, result.output
    [written] = tmp_path.glob("*.json")
    told = json.loads(written.read_text())
    assert [level["concurrency"] for level in told["levels"]] == [1, 2]
    for level in told["levels"]:
        assert len(level["calls"]) == level["concurrency"] == level["answer_ms"]["count"]
        assert 0 < level["greeting_ms"]["p50"] < 3000
        for call in level["calls"]:
            assert call["failure"] is None and call["interrupted"]
            (answer,) = call["answers"]
            stages = answer["stages"]
            assert answer["log_ms"] is not None
            # What the stages tell lies on the recording's time line.
            assert stages["final_ms"] - 5 <= stages["wire_ms"] <= answer["answer_ms"] + 61
            assert stages["wire_ms"] + stages["transport_ms"] == pytest.approx(
                answer["answer_ms"], abs=1
            )
    assert written.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert len(list(written.with_suffix("").glob("*.wav"))) == 4
    assert "end of speech → answer" in result.output


@pytest.mark.usefixtures("asterisk_root", "model_store")
@pytest.mark.parametrize("calls", [pytest.param("50", marks=REAL)])
def test_short_calls_through_everything_leave_nothing(calls: str, tmp_path: Path) -> None:
    result = bench("--short", "--calls", calls, "--out", str(tmp_path))
    assert result.exit_code == 0, result.output
    [written] = tmp_path.glob("*.json")
    (level,) = json.loads(written.read_text())["levels"]
    assert level["failures"] == [] and level["given_up"] == int(calls) // 5
    assert level["after"]["channels"] == level["after"]["bridges"] == 0
    assert level["after"]["asr.sessions"] == level["after"]["tts.sessions"] == 0
