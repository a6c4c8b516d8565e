"""The README's examples run, and its tables say what the code says."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel, SecretStr

import services.asr
from services.asr.config import AsrConfig
from services.asr.messages import Start, TurnOptions, client_codec, server_codec
from services.asr.transcript import Transcript
from services.shared.media.wav import wav_bytes
from services.shared.protocol.base import ERRORS, ErrorCode
from tests.services.asr.sounds import RATE, joined, silence, tone
from tests.services.serving import LiveService

README = (Path(services.asr.__path__[0]) / "README.md").read_text(encoding="utf-8")
OF_TTS = {
    ErrorCode.UNKNOWN_VOICE,
    ErrorCode.ENGINE_RESTARTING,
    ErrorCode.UNKNOWN_CONTEXT,
    ErrorCode.TOO_MANY_CONTEXTS,
    ErrorCode.TEXT_TOO_LONG,
    ErrorCode.AUDIO_TOO_SHORT,
    ErrorCode.AUDIO_TOO_QUIET,
    ErrorCode.AUDIO_TOO_NOISY,
    ErrorCode.AUDIO_CLIPPED,
    ErrorCode.NO_SPEECH,
    ErrorCode.CLONING_UNSUPPORTED,
    ErrorCode.TOO_MANY_VOICES,
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def messages(direction: str) -> list[str]:
    return [line for block in blocks(f"json {direction}") for line in block.splitlines()]


def table(name: str) -> list[str]:
    [found] = re.findall(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", README, re.DOTALL)
    return str(found).splitlines()


@pytest.mark.parametrize("text", messages("client"))
def test_what_the_client_sends(text: str) -> None:
    client_codec().decode(text)


@pytest.mark.parametrize("text", messages("server"))
def test_what_the_server_sends(text: str) -> None:
    server_codec().decode(text)


@pytest.mark.parametrize("text", messages("transcript"))
def test_the_answer_of_transcribe(text: str) -> None:
    Transcript.model_validate_json(text)


def test_every_message_has_an_example() -> None:
    shown = {json.loads(text)["type"] for text in messages("client")}
    assert shown == {"start", "flush", "stop"}
    shown = {json.loads(text)["type"] for text in messages("server")}
    named = set(re.findall(r"^\*\*`(\w+)`\*\*", README, re.MULTILINE)) | {"turn_resumed"}
    assert shown == named - {"start", "flush", "stop"}
    assert len(shown) == 11


def test_every_field_of_start_is_in_the_table() -> None:
    rows = set(re.findall(r"^\| `([\w.]+)` \|", README, re.MULTILINE))
    fields = set(Start.model_fields) - {"type"}
    assert fields | {f"turn.{name}" for name in TurnOptions.model_fields} <= rows


def test_the_table_of_errors_is_that_of_the_code() -> None:
    expected = ["| code | HTTP | close | retryable |", "|---|---|---|---|"]
    for code, traits in ERRORS.items():
        if code not in OF_TTS:
            close = str(traits.close.value) if traits.close else "—"
            retry = "yes" if traits.retryable else "no"
            expected.append(f"| `{code.value}` | {traits.http_status} | {close} | {retry} |")
    assert table("errors") == expected


def keys(section: BaseModel, prefix: str = "") -> dict[str, str]:
    """Every key with its default as YAML's flow style writes it."""
    found: dict[str, str] = {}
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            found |= keys(value, f"{prefix}{name}.")
        else:
            assert not isinstance(value, SecretStr)
            plain = json.loads(json.dumps(value))
            found[prefix + name] = plain if isinstance(plain, str) else json.dumps(plain)
    return found


def test_the_table_of_the_configuration_is_that_of_the_code() -> None:
    rows = [row.split(" | ")[:2] for row in table("configuration")[2:]]
    told = {key.strip("|` "): default.strip("`") for key, default in rows}
    assert told == keys(AsrConfig())


@pytest.mark.parametrize("number", range(2))
def test_the_programs_run(live: LiveService, tmp_path: Path, number: int) -> None:
    programs = blocks("python")
    assert len(programs) == 2
    sound = joined(silence(300), tone(400, 1000), silence(800))
    (tmp_path / "speech.wav").write_bytes(wav_bytes(sound, RATE))
    program = programs[number].replace("127.0.0.1:8001", live.address)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stderr == ""
    assert "w4 w4 w4 w4" in done.stdout
