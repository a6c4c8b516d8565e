"""The application as a whole: health, metrics, documentation, and the embedded voice end to end."""

import threading
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from services.shared.audio.pcm import AudioFormat, Encoding, Floats
from services.shared.audio.resample import StreamResampler
from services.shared.models.store import ModelStore
from services.shared.runtime.config import ConfigError, ServerConfig
from services.shared.runtime.lifecycle import Phase
from services.tts.app import create_app
from services.tts.config import EnginesConfig, PiperEngineConfig, TtsConfig
from services.tts.engines.base import EngineUnavailable
from services.tts.engines.fake import FakeEngine
from services.tts.messages import (
    AudioFinished,
    AudioStarted,
    Cancel,
    Cancelled,
    Close,
    End,
    Flush,
    Start,
    Text,
    Words,
)
from tests.services.serving import LiveService, eventually
from tests.services.tts.client import session
from tests.services.tts.conftest import StartService, tones

if TYPE_CHECKING:
    from faster_whisper import WhisperModel

SENTENCES = (
    "The train to Boston leaves at ten in the morning.",
    "Please remember to bring your passport and a warm coat.",
    "Thank you for calling, we will get back to you tomorrow.",
)


# Health, metrics, documentation.


async def get(service: LiveService, path: str) -> httpx.Response:
    async with httpx.AsyncClient(base_url=service.http, trust_env=False) as client:
        return await client.get(path)


async def test_health_counts_the_sessions(live: LiveService) -> None:
    assert (await get(live, "/health/live")).json() == {"live": True, "hung": []}
    async with session(live.ws):
        ready = await get(live, "/health/ready")
    assert ready.status_code == 200
    assert ready.json() == {"ready": True, "phase": "ready", "sessions": 1}


async def test_nobody_is_let_in_before_the_engines_are_warm(
    start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    monkeypatch.setattr(FakeEngine, "warm_up", lambda _: gate.wait(10))
    service = await start_service(wait_ready=False)
    try:
        assert (await get(service, "/health/live")).status_code == 200
        starting = await get(service, "/health/ready")
        assert (starting.status_code, starting.json()["phase"]) == (503, "starting")
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"{service.ws}/v1/stream/tts", proxy=None)
        assert refused.value.response.status_code == 503
        assert int(refused.value.response.headers["Retry-After"]) > 0
    finally:
        gate.set()
    await eventually(lambda: service.lifecycle.phase is Phase.READY)
    assert (await get(service, "/health/ready")).status_code == 200


async def test_metrics_tell_what_was_spoken(start_service: StartService) -> None:
    service = await start_service()
    async with session(service.ws) as speaker:
        await speaker.send(Start(voice="nobody"))
        await speaker.send(Start(), Text(text="wonderful day"), End())
        while not speaker.all(AudioFinished):
            await speaker.next()
        assert service.metric("voice_sessions") == 1
    assert service.metric("voice_tts_audio_seconds_total") == pytest.approx(0.36 + 0.12 + 0.04)
    assert service.metric("voice_tts_characters_total") == len("wonderful day")
    assert service.metric("voice_tts_first_audio_seconds_count") == 1
    assert service.metric("voice_errors_total", code="unknown_voice") == 1
    assert service.metric("voice_sessions_opened_total") == 1
    assert service.metric("voice_model_failed_total", model="tts_fake") == 0


async def test_the_documentation_lists_the_routes(live: LiveService) -> None:
    assert "swagger" in (await get(live, "/docs")).text.lower()
    paths = (await get(live, "/openapi.json")).json()["paths"]
    assert paths.keys() >= {
        "/v1/synthesize",
        "/v1/voices",
        "/health/live",
        "/health/ready",
        "/metrics",
    }


def test_a_door_open_to_others_without_keys_is_refused() -> None:
    config = TtsConfig(engines=tones(), server=ServerConfig(host="0.0.0.0"))
    with pytest.raises(ConfigError, match="API key"):
        create_app(config)


def test_a_service_without_an_engine_is_refused() -> None:
    engines = EnginesConfig(piper=PiperEngineConfig(enabled=False))
    with pytest.raises(EngineUnavailable, match="piper, kokoro, fake"):
        create_app(TtsConfig(engines=engines))


# The embedded voice.


@pytest.fixture(scope="module")
def whisper(model_store: ModelStore) -> "WhisperModel":
    from faster_whisper import WhisperModel

    folder = model_store.require("whisper-tiny.en")
    return WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=2)


def understood(whisper: "WhisperModel", samples: Floats, rate: int) -> str:
    resampler = StreamResampler(rate, 16_000, low_latency=False)
    audio = np.concatenate([resampler.push(samples), resampler.flush()])
    segments, _ = whisper.transcribe(audio, language="en", beam_size=1)
    return "".join(segment.text for segment in segments)


def plain(text: str) -> list[str]:
    kept = "".join(char for char in text.lower() if char.isalnum() or char == " ")
    return kept.replace("10", "ten").split()


@pytest.mark.models
@pytest.mark.parametrize("encoding", [Encoding.PCM_S16LE, Encoding.MULAW])
async def test_what_is_spoken_is_understood(
    speaking: LiveService, whisper: "WhisperModel", encoding: Encoding
) -> None:
    rate = 8000 if encoding is Encoding.MULAW else 22_050
    text = " ".join(SENTENCES)
    async with session(speaking.ws) as speaker:
        await speaker.send(Start(encoding=encoding, sample_rate=rate, word_timestamps=True))
        for word in text.split():
            await speaker.send(Text(text=f"{word} "))
        await speaker.send(Flush(), End(), Close())
        assert await speaker.closed() == 1000
    samples = AudioFormat(encoding, rate).decode(speaker.audio())
    [finished] = speaker.all(AudioFinished)
    assert finished.audio_ms == pytest.approx(len(samples) * 1000 / rate, abs=1)
    words = [word for message in speaker.all(Words) for word in message.words]
    assert [word.word for word in words] == text.split()
    assert words[-1].end_ms <= finished.audio_ms
    heard, expected = plain(understood(whisper, samples, rate)), plain(text)
    assert len(set(expected) - set(heard)) <= 2, heard  # "at ten" may be heard as "attend"
    assert abs(len(heard) - len(expected)) <= 2, heard


@pytest.mark.models
async def test_telephone_audio_has_speech_in_its_band_and_nothing_weird(
    speaking: LiveService,
) -> None:
    async with httpx.AsyncClient(base_url=speaking.http, trust_env=False, timeout=30) as client:
        body: dict[str, Any] = {"text": SENTENCES[0], "format": "mulaw", "sample_rate": 8000}
        answer = await client.post("/v1/synthesize", json=body)
    samples = AudioFormat(Encoding.MULAW, 8000).decode(answer.content)
    assert 1.5 < len(samples) / 8000 < 6
    assert 0.1 < np.abs(samples).max() < 0.99
    assert abs(samples.mean()) < 0.005
    power = np.abs(np.fft.rfft(samples)) ** 2
    hertz = np.fft.rfftfreq(len(samples), 1 / 8000)
    assert power[(hertz > 80) & (hertz < 3600)].sum() > 0.95 * power.sum()
    jump = np.abs(np.diff(samples)).max()
    assert jump < 0.8 * (samples.max() - samples.min())


@pytest.mark.models
async def test_cancel_reports_words_of_a_real_voice(speaking: LiveService) -> None:
    text = " ".join(SENTENCES * 4)
    async with session(speaking.ws) as speaker:
        await speaker.send(Start(), Text(text=text), Flush())
        await speaker.hear(AudioStarted)
        await speaker.next()
        await speaker.send(Cancel())
        cancelled = await speaker.hear(Cancelled)
        assert cancelled.sent_ms == pytest.approx(len(speaker.audio()) / 2 / 22.05, abs=1)
        assert text.startswith(cancelled.spoken_text)
        assert len(cancelled.spoken_text) < len(text)
