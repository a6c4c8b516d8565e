"""`voice doctor` finds what is missing and says how to mend it."""

import json

from tests.services.cli.conftest import RunVoice


def test_missing_models_fail_with_the_command_that_mends_it(voice: RunVoice) -> None:
    done = voice("doctor", "--json")
    assert done.returncode == 1
    findings = {each["what"]: each for each in json.loads(done.stdout)}
    model = findings["model whisper-tiny.en"]
    assert (model["state"], model["found"]) == ("fail", "missing")
    assert model["remedy"] == "uv run voice models download whisper-tiny.en"
    assert findings["Python"]["state"] == "ok"
    assert {"CPU", "memory", "GPU", "disk", "port 8001 (asr)", "packages of tts"} <= set(findings)


def test_the_table_names_every_finding(voice: RunVoice) -> None:
    done = voice("doctor")
    assert "model silero-vad" in done.stdout
    assert "voice models download" in done.stdout
