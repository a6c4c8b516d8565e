"""The whole command: instances, nginx, callers, and two of its faults."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from typer.testing import CliRunner, Result

from services.bench.cli import app

needs_nginx = pytest.mark.skipif(
    shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin") is None,
    reason="nginx is not installed (apt-get install nginx-light)",
)


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["cluster", *arguments], terminal_width=200)


@needs_nginx
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_callers_survive_the_death_and_the_end_of_instances(tmp_path: Path) -> None:
    options = ("--instances", "2+2", "--callers", "10", "--seconds", "6", "--drain-s", "20")
    run = _run(*options, "--fault", "kill,term", "--fault-callers", "10", "--out", str(tmp_path))
    [path] = tmp_path.glob("cluster-*.json")
    result: dict[str, Any] = json.loads(path.read_text())
    load, (kill, term) = result["load"], result["faults"]
    assert run.exit_code == 0, run.output

    accounts = load["accounts"]
    assert accounts["utterances"] == accounts["answered"] >= 10
    assert accounts["replies"] == accounts["spoken"] >= 10
    assert accounts["crossed"] == accounts["doubled"] == accounts["partly"] == 0
    assert accounts["dropped_ms"] == load["outages"] == 0
    assert accounts["checks_that_could_not_fail"] == 0

    # Nobody can go on with what was in a dead process, but everybody is served again at once.
    assert kill["hit"] == sum(kill["seen"].values()) > 0
    assert all(seen.endswith("→ new") for seen in kill["seen"])
    assert kill["back_ms"]["max"] < 2000
    assert kill["accounts"]["unanswered"] == kill["accounts"]["unspoken"] == 0
    assert 0 < kill["touched"] <= kill["hit"]

    # Told to end, instances lose nothing at all.
    assert term["accounts"]["said_again"] == term["accounts"]["broken_off"] == 0
    assert any("resumed" in seen for seen in term["seen"])
    assert term["faults"] == []
    [picture] = tmp_path.glob("cluster-*.png")
    assert picture.read_bytes().startswith(b"\x89PNG")


@needs_nginx
@pytest.mark.slow
@pytest.mark.timeout(120)
def test_told_to_end_it_leaves_no_process(tmp_path: Path) -> None:
    command = ("-m", "services.cli.main", "bench", "cluster", "--callers", "4", "--seconds", "60")
    with psutil.Popen(
        [sys.executable, *command, "--out", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as bench:
        assert "load: 4 callers" in bench.stdout.readline()
        started = bench.children(recursive=True)
        assert len(started) >= 5
        bench.terminate()
        assert bench.wait(60) == 128 + signal.SIGTERM
    _, left = psutil.wait_procs(started, timeout=5)
    assert not left


@needs_nginx
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_rolling_restart_costs_no_turn_and_refuses_nobody(tmp_path: Path) -> None:
    """How a configuration, a model or a release is changed."""
    options = ("--instances", "2+2", "--seconds", "0", "--drain-s", "20")
    run = _run(*options, "--fault", "rolling", "--fault-callers", "8", "--out", str(tmp_path))
    [path] = tmp_path.glob("cluster-*.json")
    [rolling] = json.loads(path.read_text())["faults"]
    assert run.exit_code == 0, run.output
    assert rolling["faults"] == []

    accounts = rolling["accounts"]
    assert accounts["utterances"] == accounts["answered"] >= 8
    assert accounts["replies"] == accounts["spoken"] >= 8
    assert accounts["said_again"] == accounts["asked_again"] == accounts["refused"] == 0
    assert rolling["hit"] > 0
    assert sum("ended after" in note for note in rolling["notes"]) == 4
    [told] = [note for note in rolling["notes"] if "HTTP requests answered" in note]
    assert int(told.split()[0]) > 20


@pytest.mark.parametrize(
    ("option", "value"),
    [("--instances", "2"), ("--instances", "0+1"), ("--fault", "rain"), ("--engine", "steam")],
)
def test_options_that_mean_nothing_are_refused(option: str, value: str) -> None:
    run = _run(option, value)
    assert run.exit_code == 2
    assert option in run.output


def test_a_cluster_that_is_not_ours_is_not_hurt() -> None:
    run = _run("--url", "http://127.0.0.1:1", "--fault", "kill")
    assert run.exit_code == 2
    assert "started here" in run.output
