"""The typed client of cloned voices against a live service."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.client.connection import ServiceError
from services.client.voices import Voices
from services.tts.app import create_app
from services.tts.config import (
    EnginesConfig,
    FakeEngineConfig,
    PiperEngineConfig,
    ReferenceConfig,
    TtsConfig,
    VoicesConfig,
)
from tests.services.serving import LiveService, serving
from tests.services.tts.cloning.recordings import STATEMENT, buzz, wav


@pytest.fixture
def tts(tmp_path: Path) -> Iterator[LiveService]:
    config = TtsConfig(
        engines=EnginesConfig(
            piper=PiperEngineConfig(enabled=False),
            fake=FakeEngineConfig(enabled=True, cloning=True),
        ),
        voices=VoicesConfig(
            store=str(tmp_path / "voices"), reference=ReferenceConfig(vad="energy")
        ),
    )
    with serving(create_app(config), config.limits) as service:
        yield service


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    file = tmp_path / "ada.wav"
    file.write_bytes(wav(buzz(150, 5)))
    return file


async def test_a_voice_is_made_looked_at_and_deleted(tts: LiveService, recording: Path) -> None:
    async with Voices.at(tts.http) as voices:
        made = await voices.create(recording, name="Ada", language="en-US", consent=STATEMENT)
        assert made.consent is not None
        assert made.consent.statement == STATEMENT
        assert await voices.get(made.id) == made
        assert [voice.id for voice in await voices.list() if voice.cloned] == [made.id]
        assert (await voices.rename(made.id, "Grace")).name == "Grace"
        assert (await voices.sample(made.id)).startswith(b"RIFF")
        await voices.delete(made.id)
        with pytest.raises(ServiceError) as gone:
            await voices.get(made.id)
        assert gone.value.code == "not_found"


@pytest.fixture
def short_recording(tmp_path: Path) -> Path:
    file = tmp_path / "short.wav"
    file.write_bytes(wav(buzz(150, 1)))
    return file


async def test_refusals_say_why(tts: LiveService, short_recording: Path) -> None:
    async with Voices.at(tts.http) as voices:
        with pytest.raises(ServiceError, match="s of speech") as short:
            await voices.create(short_recording, name="Ada", language="en-US", consent=STATEMENT)
        assert short.value.code == "audio_too_short"
        with pytest.raises(ServiceError) as odd:
            await voices.get("../../metrics")
        assert odd.value.code == "not_found"


async def test_a_service_that_is_not_there_is_told() -> None:
    async with Voices.at("http://127.0.0.1:9") as voices:
        with pytest.raises(ServiceError) as nobody:
            await voices.list()
        assert nobody.value.code == "unreachable"
