"""The README's examples run, its messages are valid, its tables are true."""

import asyncio
import json
import os
import re
import subprocess
import sys
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.shared.media.encode import FileFormat
from services.shared.protocol.base import ERRORS, ErrorCode
from services.shared.protocol.codec import Codec
from services.tts import messages
from services.tts.app import create_app
from services.tts.config import (
    EnginesConfig,
    FakeEngineConfig,
    PiperEngineConfig,
    ReferenceConfig,
    TtsConfig,
    VoicesConfig,
)
from services.tts.http_api import SynthesizeRequest
from tests.services.serving import LiveService, serving
from tests.services.tts.cloning.recordings import buzz, wav

README = Path(messages.__file__).with_name("README.md").read_text(encoding="utf-8")
OF_ASR = {
    ErrorCode.UNSUPPORTED_AUDIO,
    ErrorCode.INVALID_AUDIO,
    ErrorCode.SESSION_NOT_FOUND,
    ErrorCode.EVENTS_LOST,
    ErrorCode.TAKEN_OVER,
}
"""Codes that this service never gives: it listens to nobody and resumes no session."""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def examples(*, of: str) -> list[str]:
    """The JSON examples in the section with this heading."""
    section = README.split(f"### {of}\n", 1)[1].split("\n### ", 1)[0]
    return re.findall(r"^```json\n(.*?)^```", section, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    ("section", "codec", "union"),
    [
        ("Client → server", messages.client_codec(), messages.ClientMessage),
        ("Server → client", messages.server_codec(), messages.ServerMessage),
    ],
    ids=["client", "server"],
)
def test_each_message_has_one_valid_example(section: str, codec: Codec[Any], union: Any) -> None:
    shown = [codec.decode(example) for example in examples(of=section)]
    assert [type(message) for message in shown] == list(union.__args__)
    for message, example in zip(shown, examples(of=section), strict=True):
        missing = set(type(message).model_fields) - set(json.loads(example))
        assert missing <= {"context_id", "event"}, f"{message} shows nothing of {missing}"


def test_every_json_block_is_a_message_or_a_request() -> None:
    requests = [block for block in blocks("json") if '"type"' not in block]
    [request] = [SynthesizeRequest.model_validate_json(block) for block in requests]
    assert request.model_fields_set == set(SynthesizeRequest.model_fields)


def test_the_table_of_errors_is_the_servers() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d{3}) \| (\d{4}|–) \| (yes|no) \|", README, re.MULTILINE)
    told = {
        ErrorCode(code): (int(status), None if close == "–" else int(close), retry == "yes")
        for code, status, close, retry in rows
    }
    assert told == {
        code: (traits.http_status, traits.close, traits.retryable)
        for code, traits in ERRORS.items()
        if code not in OF_ASR
    }


def test_the_tables_of_formats_and_sections_are_complete() -> None:
    first_cells = " ".join(re.findall(r"^\| (`[^|]*) \|", README, re.MULTILINE))
    named = set(re.findall(r"`(\w+)`", first_cells))
    assert named >= {file_format.value for file_format in FileFormat}
    assert named >= set(TtsConfig.model_fields)


@pytest.fixture
def cloner(tmp_path: Path) -> Iterator[LiveService]:
    """A service that clones, and `ada.wav` in the folder."""
    (tmp_path / "ada.wav").write_bytes(wav(buzz(150, 5)))
    voices = VoicesConfig(store=str(tmp_path / "voices"), reference=ReferenceConfig(vad="energy"))
    fake = FakeEngineConfig(enabled=True, cloning=True)
    engines = EnginesConfig(piper=PiperEngineConfig(enabled=False), fake=fake)
    config = TtsConfig(engines=engines, voices=voices)
    with serving(create_app(config), config.limits) as service:
        yield service


def test_the_examples_of_cloning_run(cloner: LiveService, tmp_path: Path) -> None:
    section = README.split("## Voice cloning\n", 1)[1].split("\n## ", 1)[0]
    [example] = re.findall(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    ran = subprocess.run(
        ["bash", "-e", "-c", example.replace("localhost:8002", cloner.address)],
        cwd=tmp_path,
        env=os.environ | {"no_proxy": "*"},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert '"name":"Countess Ada"' in ran.stdout
    for name in ("out.wav", "sample.wav"):
        assert (tmp_path / name).read_bytes().startswith(b"RIFF")
    left = [path.parent.name for path in (tmp_path / "voices").rglob("*") if path.is_file()]
    assert left == ["deleted"]


async def test_the_python_example_runs(live: LiveService, tmp_path: Path) -> None:
    [example] = blocks("python")
    assert "localhost:8002" in example
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        example.replace("localhost:8002", live.address),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        env={"no_proxy": "*"},
    )
    async with asyncio.timeout(20):
        out, _ = await process.communicate()
    assert process.returncode == 0
    codec = messages.server_codec()
    told = [codec.decode(line) for line in out.decode().splitlines()]
    assert [message.type for message in told] == ["ready", "audio_started", "audio_finished"]
    finished = told[-1]
    assert isinstance(finished, messages.AudioFinished)
    with wave.open(str(tmp_path / "answer.wav")) as file:
        assert file.getnframes() == finished.audio_ms * file.getframerate() // 1000 > 0
