"""`voice agent` as users run it."""

import json
import subprocess
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from typer.testing import CliRunner, Result

from examples.voice_agent.api.keys import KeyRing, key_digest
from examples.voice_agent.cli.main import app

Run = Callable[..., Result]

AGENT = """
name: helpdesk
prompt: You help.
language: vi
llm: {base_url: "http://127.0.0.1:1/v1", model: llama-4-scout}
"""


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `voice agent …` in an empty folder."""
    (tmp_path / "agent.yaml").write_text(AGENT)
    monkeypatch.chdir(tmp_path)
    for name in ("VOICE_AGENT__ASR_URL", "VOICE_AGENT__TTS_URL", "BRIDGE__ARI__URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str, **more: str) -> Result:
        return CliRunner().invoke(app, arguments, env=more)

    return run


def test_the_voice_command_has_it() -> None:
    command = [sys.executable, "-m", "services.cli.main", "agent", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0
    assert "conversations" in done.stdout


def test_an_agent_is_made_routed_and_shown(agent: Run) -> None:
    assert agent("create", "agent.yaml").stdout == "helpdesk version 1\n"
    assert agent("route", "add", "_84X.", "helpdesk", "--fallback", "200").stdout == "1\n"
    decided = agent("route", "decide", "+84 28 1234")
    assert decided.stdout == "helpdesk v1 (open); fallback: 200\n"
    assert "llama-4-scout" in agent("list").stdout
    shown = agent("show", "helpdesk").stdout
    assert "language: vi" in shown and "temperature" not in shown


def test_what_is_wrong_is_one_sentence(agent: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("name: x\nprompt: y\nmood: 1\n")
    for arguments, said in (
        (("show", "nobody"), "there is no agent nobody"),
        (("create", "bad.yaml"), 'unknown field "mood"'),
        (("route", "add", "_?", "nobody"), "stands for nothing"),
        (("route", "add", "1", "nobody"), "there is no agent nobody"),
        (("conversations", "show", "x"), "there is no conversation x"),
        (("list", "--config", "none.yaml"), "there is no configuration at none.yaml"),
    ):
        done = agent(*arguments)
        assert done.exit_code == 1
        assert said in done.stderr and "Traceback" not in done.stderr
    away = agent("list", VOICE_AGENT__STORE__URL="postgresql://voice@127.0.0.1:1/agent")
    assert away.exit_code == 1 and "cannot be brought up to date" in away.stderr


def test_a_key_is_told_once_and_its_digest_goes_into_a_file(agent: Run, tmp_path: Path) -> None:
    made = agent("key", "alice")
    key = made.stderr.splitlines()[0].split()[-1]
    assert key.startswith("va_") and key not in made.stdout
    (tmp_path / "keys").write_text(made.stdout)
    KeyRing.load(tmp_path / "keys")
    assert made.stdout == f"alice {key_digest(key)}\n"


class FakeHealth(BaseHTTPRequestHandler):
    """Says what a service and a model server say when they are well."""

    def do_GET(self) -> None:
        body = json.dumps({"phase": "ready", "data": [{"id": "llama-4-scout"}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def states(done: Result) -> dict[str, str]:
    return {each["what"]: each["state"] for each in json.loads(done.stdout)}


def test_the_doctor_finds_what_is_missing_and_what_is_there(agent: Run, tmp_path: Path) -> None:
    nothing = agent("doctor", "--json")
    assert nothing.exit_code == 1
    found = states(nothing)
    assert (found["database"], found["ASR"], found["Asterisk"]) == ("fail", "fail", "fail")
    remedies = [each["remedy"] for each in json.loads(nothing.stdout) if each["state"] == "fail"]
    assert all(remedies)
    assert not list(tmp_path.glob("voice-agent*")), "an examination changes nothing"
    with ThreadingHTTPServer(("127.0.0.1", 0), FakeHealth) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        (tmp_path / "agent.yaml").write_text(AGENT.replace("http://127.0.0.1:1", url))
        agent("create", "agent.yaml")
        done = agent(
            "doctor", "--json", "--no-call", VOICE_AGENT__ASR_URL=url, VOICE_AGENT__TTS_URL=url
        )
        server.shutdown()
    found = states(done)
    assert [found[each] for each in ("database", "agents", "ASR", "TTS", "LLM of helpdesk")] == [
        "ok"
    ] * 5
    assert found["Asterisk"] == "fail"
