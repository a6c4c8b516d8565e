"""`voice nginx`."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.balancer.cli import app

ONE_EACH = ["--asr", "127.0.0.1:8001", "--tts", "127.0.0.1:8002"]


def test_it_renders_to_stdout() -> None:
    done = CliRunner().invoke(app, [*ONE_EACH, "--plain", "--listen", "18080"])
    assert done.exit_code == 0, done.output
    assert "listen 18080;" in done.stdout
    assert "server 127.0.0.1:8001 max_fails=0;" in done.stdout


@pytest.mark.parametrize("service", ["asr", "tts"])
def test_one_service_alone(service: str) -> None:
    options = [f"--{service}", "127.0.0.1:8001", "--plain", "--listen", "18080"]
    done = CliRunner().invoke(app, options)
    assert done.exit_code == 0, done.output
    assert "server 127.0.0.1:8001 max_fails=0;" in done.stdout


def test_no_service_at_all_is_refused() -> None:
    done = CliRunner().invoke(app, ["--plain"])
    assert (done.exit_code, "at least are wanted" in done.stderr) == (2, True)


def test_groups_voices_and_a_file(tmp_path: Path) -> None:
    out = tmp_path / "voice.conf"
    groups = ["--tts", "a=10.0.0.1:8002,10.0.0.2:8002", "--tts", "b=10.0.0.3:8002"]
    options = ["--voice", "vi=b", "--plain", "--listen", "18080", "--trust", "10.0.0.0/8"]
    done = CliRunner().invoke(
        app, ["--asr", "127.0.0.1:8001", *groups, *options, "--out", str(out)]
    )
    assert done.exit_code == 0, done.output
    text = out.read_text()
    assert "server 10.0.0.2:8002 max_fails=2 fail_timeout=2s;" in text
    assert "vi voice_tts_b;" in text and "10.0.0.0/8 1;" in text


def test_a_whole_configuration_has_its_files_in_one_folder(tmp_path: Path) -> None:
    whole = ["--plain", "--listen", "18080", "--whole", str(tmp_path)]
    done = CliRunner().invoke(app, [*ONE_EACH, *whole])
    assert done.exit_code == 0, done.output
    assert f"pid {tmp_path}/nginx.pid;" in done.stdout


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], "--certificate and --key are wanted"),
        (["--plain", "--key", "/k"], "nothing to do for a certificate"),
        (["--plain", "--voice", "vi"], "VOICE=GROUP is wanted"),
        (["--plain", "--voice", "vi=x"], "there is no group 'x'"),
        (["--plain", "--listen", "x"], "listen: 'x' is nothing to listen on"),
        (["--certificate", "/no/chain.pem", "--key", "/no/key.pem"], "cannot load certificate"),
    ],
)
def test_what_is_wrong_is_one_sentence(options: list[str], sentence: str) -> None:
    done = CliRunner().invoke(app, [*ONE_EACH, *options])
    assert done.exit_code == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr and "Value error" not in done.stderr
