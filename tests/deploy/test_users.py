"""Who may do what after `deploy/install.sh`, on a machine of layers that nobody else sees."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
LAYERS = Path(__file__).with_name("layers.sh")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

Machine = Callable[[str], str]
"""Runs a script with the functions of layers.sh on a fresh machine; gives what it said."""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    tools = ("unshare", "setpriv", "useradd", "flock", "git")
    if not all(shutil.which(tool) for tool in tools) or os.getuid() != 0:
        pytest.skip(f"root with {', '.join(tools)} is needed")
    if not (PROJECT / ".git").exists():
        pytest.skip("a release is made of what git knows")
    checkout, place = tmp_path / "checkout", tmp_path / "place"
    subprocess.run(["git", "clone", "--quiet", PROJECT, checkout], check=True)
    shutil.copytree(PROJECT / "deploy", checkout / "deploy", dirs_exist_ok=True)
    place.mkdir()
    paths = {"PLACE": place, "CHECKOUT": checkout, "PROJECT": PROJECT, "PYTHON": sys.executable}

    def run(script: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["unshare", "--mount", "--propagation", "private", "bash", "-c"]
            + [f"source {LAYERS}\n{script}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            env={**os.environ, **{name: str(path) for name, path in paths.items()}},
        )

    if (tried := run("true")).returncode != 0:
        pytest.skip(f"this machine mounts no layers over its folders: {tried.stdout}")

    def does(script: str) -> str:
        done = run(script)
        assert done.returncode == 0, done.stdout
        return done.stdout

    return does


def rights(said: str) -> dict[str, dict[str, str]]:
    """User → what → the rights to it; what it could do to the folder has none."""
    found: dict[str, dict[str, str]] = {}
    for line in said.splitlines():
        if line.startswith("may: "):
            user, what, *right = line.split()[1:]
            found.setdefault(user, {})[what] = right[0] if right else "yes"
    return found


_FILES = "keys.json token-secret models tts voices voice-agent"
_CONFIGURATION = "asr.yaml tts.yaml voice-agent.yaml voice.env"
NONE = dict.fromkeys(f"{_FILES} {_CONFIGURATION}".split(), "--")
READS = {"keys.json": "r-", "token-secret": "r-", "models": "r-"}
WHO_MAY: Mapping[str, Mapping[str, str]] = {
    "voice-asr": {**NONE, **READS, "asr.yaml": "r-"},
    "voice-tts": {**NONE, **READS, "tts": "rw", "tts.yaml": "r-"},
    "voice-bridge": {**NONE, "models": "r-", "voice-agent": "rw", "voice-agent.yaml": "r-"},
}
WITH_VOICES = {**WHO_MAY, "voice-tts": {**WHO_MAY["voice-tts"], "voices": "rw"}}


def test_each_service_gets_at_its_own_and_changes_no_keys(machine: Machine) -> None:
    said = machine("""
        install_it
        who_may
        echo 'second time:'
        install_it
        echo 'keys:'
        /usr/local/bin/voice keys create another >/dev/null 2>&1
        stat -c '%a' $STATE/keys.json
    """)
    assert rights(said) == WHO_MAY
    again, _, keys = said.partition("second time:")[2].partition("keys:")
    changes = ("chown", "chmod", "useradd", "usermod", "+ write")
    assert not any(change in again for change in changes), again
    assert keys.strip() == "640"


def test_a_checkout_of_root_alone(machine: Machine) -> None:
    """Made with the umask 077, which some give to root: what is installed is for all services."""
    said = machine("""
        chmod -R go= "$CHECKOUT"
        install_it >/dev/null
        as voice-asr voice-services 'cd /opt/voice-services/current &&
          test -x deploy/run && test -r services/asr/app.py && test -x .venv/bin/voice &&
          echo "can run"' || true
    """)
    assert said.endswith("can run\n"), said


def test_models_put_there_by_hand_are_for_the_services(machine: Machine) -> None:
    said = machine("""
        install_it >/dev/null
        mkdir "$STATE/models/large" && touch "$STATE/models/large/weights"
        chmod -R go= "$STATE/models"
        install_it >/dev/null
        as voice-tts voice-services 'cat $STATE/models/large/weights && echo "can read"' || true
        echo 'again:'
        install_it
    """)
    before, _, again = said.partition("again:")
    assert before.endswith("can read\n"), said
    assert "chmod" not in again


def test_an_upgrade_from_the_one_user_of_all(machine: Machine) -> None:
    said = machine("""
        one_user_of_all
        install_it
        who_may
        stat -c 'record: %U' $STATE/voices/cv_1/record
    """)
    assert rights(said) == WITH_VOICES
    assert "record: voice-tts" in said
    # Instances of before and after got at the voices.
    assert "while restarting: voice-tts drwxrwx---" in said


def test_and_back(machine: Machine) -> None:
    said = machine("""
        one_user_of_all
        install_it >/dev/null
        installer rollback
        stat -c 'owner: %U' $STATE/voices/cv_1/record $STATE/tts $STATE/voice-agent
        as voice-services voice-services,voice-asr,voice-tts,voice-bridge '
          cat $ETC/*.yaml >/dev/null && touch $STATE/voices/x && echo "as before"'
        id -nG voice-services
    """)
    assert said.count("owner: voice-services") == 3
    assert "as before" in said
    assert {"voice-asr", "voice-tts", "voice-bridge"} < set(said.splitlines()[-1].split())


def test_a_bridge_that_runs_keeps_its_folder_until_it_is_restarted(machine: Machine) -> None:
    said = machine("""
        one_user_of_all
        touch /etc/bridge-runs
        install_it
        stat -c 'folder: %U' $STATE/voice-agent
        installer rollback || echo refused
    """)
    assert "folder: voice-services" in said
    assert "the bridge is another user" in said and "refused" in said


def test_a_backup_restored_as_the_manual_says(machine: Machine) -> None:
    text = (PROJECT / "deploy/README.md").read_text().partition("\n## Backup\n")[2]
    backup, restore = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)[:2]
    said = machine(f"""
        DROP_IN=/etc/systemd/system/voice-asr@8001.service.d
        mkdir "$PLACE/backup" && cd "$CHECKOUT"
        installer install --no-nginx --models none --bridge --asr 8001,8021,8031 >/dev/null
        installer install --tts 8002 >/dev/null
        mkdir -p "$STATE"/{{voices/cv_1,tts/voices/cv_2}} "$STATE/models/large"
        touch "$STATE"/{{voices/cv_1/record,tts/voices/cv_2/record}}
        chown -R voice-tts: "$STATE/voices" "$STATE/tts/voices" && chmod -R go= "$STATE/voices"
        echo 'limits: {{max_sessions: 7}}' >"$ETC/asr.yaml"
        sqlite3 "$STATE/voice-agent/agent.db" 'create table call (who)' \
          'insert into call values ("ada")'
        chown voice-bridge: "$STATE/voice-agent/agent.db"
        mkdir -p "$DROP_IN" && echo '[Service]' >"$DROP_IN/override.conf"
        voice() {{ /usr/local/bin/voice "$@"; }}
        voice keys list >"$PLACE/before"
        {backup.replace("/backup/", "$PLACE/backup/")}
        umask 022
        stat -c 'kept: %a' "$PLACE"/backup/*
        installer uninstall --purge >/dev/null
        rm -r "$DROP_IN"
        useradd --system another # from now on ids are others
        {restore.replace("/backup/", "$PLACE/backup/")}
        who_may
        sqlite3 "$STATE/voice-agent/agent.db" 'select "called: " || who from call'
        stat -c 'database: %U %a' "$STATE/voice-agent/agent.db"
        stat -c 'drop-in: %U %a' "$DROP_IN/override.conf"
        stat -c 'record: %U' "$STATE"/{{voices/cv_1,tts/voices/cv_2}}/record
        cat "$ETC/asr.yaml"
        voice keys list | diff "$PLACE/before" - && echo 'the keys of before'
        ls "$STATE/models" | wc -l
    """)
    assert rights(said) == WITH_VOICES
    for line in ("called: ada", "database: voice-bridge 600", "limits: {max_sessions: 7}"):
        assert line in said
    assert "drop-in: root 644" in said
    assert re.findall("kept: (.*)", said) == ["600", "600"]  # keys, and what was said
    assert said.count("record: voice-tts") == 2
    assert "the keys of before" in said and said.splitlines()[-1] == "0"
    (enabled,) = [line.split() for line in said.splitlines() if "systemctl enable" in line]
    assert enabled[4:] == [
        "voice.target", "voice-asr@8001.service", "voice-asr@8021.service",
        "voice-asr@8031.service", "voice-tts@8002.service", "voice-bridge.service",
    ]  # fmt: skip


def test_nobody_is_left_after_a_purge(machine: Machine) -> None:
    said = machine("""
        install_it >/dev/null
        installer uninstall --purge
        getent passwd | grep '^voice-' || echo 'no users'
        getent group | grep '^voice-' || echo 'no groups'
    """)
    assert "no users" in said and "no groups" in said


def test_voice_agent_knows_what_the_bridge_knows(machine: Machine) -> None:
    """Its password and keys, which nobody else sees: not in arguments, not by other commands."""
    said = machine("""
        install_it >/dev/null
        cat >"$ETC/bridge.env" <<'TEXT'
# BRIDGE__ARI__URL=http://nowhere
BRIDGE__ARI__PASSWORD="two words"
VOICE_AGENT__ASR_KEY=vk_1=2
a b=3
TEXT
        cat >/opt/voice-services/current/.venv/bin/voice <<'SH'
#!/bin/sh
env | grep -E '^(BRIDGE|VOICE_AGENT_|a b)' | sort | sed "s/^/$1: /"
SH
        /usr/local/bin/voice agent doctor
        /usr/local/bin/voice keys list
        sh -x /usr/local/bin/voice agent 2>&1 | grep exec
    """)
    lines = said.splitlines()
    assert [line for line in lines if line.startswith("agent: ")] == [
        "agent: BRIDGE_CONFIG=/etc/voice-services/bridge.yaml",
        "agent: BRIDGE__ARI__PASSWORD=two words",
        "agent: VOICE_AGENT_CONFIG=/etc/voice-services/voice-agent.yaml",
        "agent: VOICE_AGENT__ASR_KEY=vk_1=2",
    ]
    assert [line for line in lines if line.startswith("keys: ")] == [
        "keys: VOICE_AGENT_CONFIG=/etc/voice-services/voice-agent.yaml"
    ]
    (command,) = [line for line in lines if line.startswith("+ exec")]
    assert "runuser" in command and "words" not in command and "vk_1" not in command
