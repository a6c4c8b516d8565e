"""Google and its stand-ins through the service's WebSocket, on a server with Google's limits."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

import services.asr.service
from services.asr.app import create_app
from services.asr.config import AsrConfig, EngineConfig, VadConfig
from services.asr.engines.base import DecodeRequest, Floats, Hypothesis
from services.asr.engines.registry import create_engine
from services.asr.engines.whisper import WhisperEngine
from services.asr.messages import Final, Partial, Ready, TurnPending
from services.shared.media.wav import wav_bytes
from services.shared.models.store import ModelStore
from services.shared.protocol.base import Error, ErrorCode
from services.shared.runtime.config import ServerConfig
from tests.services.asr.bursts import BurstEngine, sentence, spoken
from tests.services.asr.client import Caller, recognise, session
from tests.services.asr.google_server import Fault, GoogleServer, ServiceLimits, google_server
from tests.services.asr.sounds import (
    RATE,
    joined,
    pcm,
    recording,
    silence,
    transcripts,
    words_of,
)
from tests.services.serving import LiveService, eventually, serving

pytestmark = pytest.mark.real_time
FAST = 30.0
"""Times real time, so that audio that is sent at once is understood at once."""
Start = Callable[..., LiveService]


@pytest.fixture
def server() -> Iterator[GoogleServer]:
    with google_server(ServiceLimits(rate=1.25 * FAST)) as made:
        yield made


def config(server: GoogleServer, *failover: str, **google: object) -> AsrConfig:
    """Google alone, or with stand-ins."""
    settings = {"endpoint": server.endpoint, "replay_rate": FAST, "final_timeout_s": 10.0, **google}
    name = {"failover": ["google", *failover]} if failover else {"name": "google"}
    engine = EngineConfig.model_validate({**name, "google": settings})
    return AsrConfig(engine=engine, vad=VadConfig(name="energy"))


@pytest.fixture
def start_service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Where the fake engine is asked for, one that knows the language of the tests stands in."""
    store = ModelStore()

    def create(config: EngineConfig, store: ModelStore, name: str) -> object:
        if name == "fake":
            return BurstEngine()
        return create_engine(config, store, name)  # type: ignore[arg-type]

    monkeypatch.setattr(services.asr.service, "create_engine", create)
    with ExitStack() as stack:

        def start(config: AsrConfig) -> LiveService:
            app = create_app(config, store)
            return stack.enter_context(serving(app, config.limits, ServerConfig(drain_s=0.5)))

        yield start


def said_by(caller: Caller) -> list[str]:
    return caller.text.split()


def check_promises(caller: Caller) -> None:
    """`stable_text` only grows until the final that begins with it."""
    stable = ""
    for message in caller.log:
        if isinstance(message, Partial):
            assert message.text.startswith(message.stable_text)
            assert message.stable_text.startswith(stable)
            stable = message.stable_text
        elif isinstance(message, Final):
            assert message.text.startswith(stable)
            stable = ""


async def speak(caller: Caller, samples: Floats) -> None:
    """As a microphone sends, but faster: whoever is too late with a part is silent meanwhile."""
    for at in range(0, len(samples), 800):
        await caller.audio(pcm(samples[at : at + 800]))
        await asyncio.sleep(0.004)


async def test_a_turn_through_google(server: GoogleServer, start_service: Start) -> None:
    service = start_service(config(server))
    said = sentence(16)
    tape = joined(silence(300), spoken(said[:8]), silence(100), spoken(said[8:]), silence(900))
    async with session(service.ws, ready=False) as caller:
        ready = await caller.hear(Ready)
        assert (ready.model, ready.languages) == ("google-latest_long", ("en",))
        await caller.say(type="start", word_timestamps=True, hotwords=["IBAN"])
        await speak(caller, tape)
        await caller.stop()
    [final] = caller.all(Final)
    assert said_by(caller) == said
    assert final.turn_end
    assert (final.engine, final.language, final.confidence) == (None, "en", 0.8)
    assert final.words is not None
    assert [word.word for word in final.words] == said
    assert abs(final.words[0].start_ms - 300) <= 30
    assert len(caller.all(Partial)) >= 3
    assert caller.all(TurnPending) == []
    check_promises(caller)
    [stream] = server.streams
    assert stream.ended == "OK"
    assert stream.audio_s < len(tape) / RATE, "silence is not paid for"


async def test_each_turn_is_a_stream(server: GoogleServer, start_service: Start) -> None:
    service = start_service(config(server))
    parts = [joined(spoken(sentence(5, first)), silence(1200)) for first in (0, 5, 10)]
    turn = {"mode": "silence", "silence_ms": 400}  # the turn model may answer after the pause
    caller = await recognise(service.ws, pcm(joined(*parts)), turn=turn)
    assert said_by(caller) == sentence(15)
    assert len(server.streams) == len(caller.all(Final)) == 3


async def test_many_callers_hear_their_own_words(
    server: GoogleServer, start_service: Start
) -> None:
    service = start_service(config(server))
    tapes = [sentence(10, first) for first in range(12)]
    callers = await asyncio.gather(
        *(recognise(service.ws, pcm(joined(spoken(said), silence(500)))) for said in tapes)
    )
    for said, caller in zip(tapes, callers, strict=True):
        assert said_by(caller) == said
        check_promises(caller)
    await eventually(lambda: service.lifecycle.sessions == 0)


@pytest.mark.parametrize("segment_s", [10, 600])
async def test_a_long_dictation_has_every_word_once(
    server: GoogleServer, start_service: Start, segment_s: int
) -> None:
    """In many short segments, and in one that is longer than several streams."""
    server.limits = ServiceLimits(rate=1.25 * FAST, longest_s=15.0)
    google = {"segment_s": segment_s, "roll_s": 8.0, "longest_stream_s": 12.0}
    service = start_service(config(server, **google))
    said = sentence(300)
    gaps = [450 if index % 17 == 16 else 0 for index in range(300)]
    tape = joined(
        *(joined(spoken([word]), silence(gap)) for word, gap in zip(said, gaps, strict=True))
    )
    caller = await recognise(service.ws, pcm(tape), turn={"mode": "manual"})
    assert said_by(caller) == said
    assert len(server.streams) >= 5
    assert (len(caller.all(Final)) > 1) == (segment_s == 10)
    check_promises(caller)


async def test_refused_credentials_are_told_and_cost_no_session(
    server: GoogleServer, start_service: Start
) -> None:
    service = start_service(config(server))
    server.broken = Fault("PERMISSION_DENIED")
    async with session(service.ws) as caller:
        await caller.audio(pcm(joined(spoken(sentence(5)), silence(500))))
        error = await caller.hear_error(ErrorCode.ENGINE_FAILED)
        assert "Cloud Speech Client" in error.message
        assert error.retryable
        assert (await caller.hear(Final)).suppressed == "engine_failed"
        server.broken = None
        await caller.audio(pcm(joined(spoken(sentence(5)), silence(500))))
        assert (await caller.hear(Final)).text.split() == sentence(5)
        await caller.stop()


async def test_a_caller_who_vanishes_leaves_no_stream_behind(
    server: GoogleServer, start_service: Start
) -> None:
    service = start_service(config(server))
    before = service.tasks()
    async with session(service.ws) as caller:
        await speak(caller, spoken(sentence(6)))
        assert server.streams[0].ended == "cancelled", "not ended yet"
        caller.socket.transport.abort()
    await eventually(lambda: service.lifecycle.sessions == 0)
    await eventually(lambda: service.tasks() <= before)


async def test_a_file_through_google(server: GoogleServer, start_service: Start) -> None:
    service = start_service(config(server))
    said = sentence(8)
    file = wav_bytes(joined(silence(200), spoken(said), silence(2000), spoken(said)), RATE)
    async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
        answer = await client.post(f"{service.http}/v1/transcribe", files={"file": ("a.wav", file)})
        assert answer.json()["text"].split() == said + said
        server.broken = Fault("RESOURCE_EXHAUSTED")
        answer = await client.post(f"{service.http}/v1/transcribe", files={"file": ("a.wav", file)})
    error = Error.model_validate(answer.json())
    assert (answer.status_code, error.code) == (502, ErrorCode.ENGINE_FAILED)
    assert "quota" in error.message


# Stand-ins.


@pytest.mark.parametrize("status", ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "INTERNAL"])
async def test_an_outage_mid_turn_costs_no_word(
    server: GoogleServer, start_service: Start, status: str
) -> None:
    service = start_service(config(server, "fake"))
    said = sentence(24)
    tape = joined(silence(300), spoken(said[:10]), silence(100), spoken(said[10:]), silence(600))
    server.broken = Fault(status, after_s=2.5)
    async with session(service.ws) as caller:
        await speak(caller, tape)
        await caller.stop()
    assert said_by(caller) == said
    assert [final.engine for final in caller.all(Final)] == ["fake"]
    assert caller.all(Error) == []
    assert any(len(partial.text.split()) > 15 for partial in caller.all(Partial))
    check_promises(caller)
    assert service.metric("voice_asr_engine_failures_total", engine="google") >= 1
    assert service.metric("voice_asr_engine_open", engine="google") == 1


async def test_google_is_used_again_when_it_is_back(
    server: GoogleServer, start_service: Start
) -> None:
    service = start_service(config(server, "fake"))
    turn = pcm(joined(spoken(sentence(6)), silence(600)))
    server.broken = Fault("UNAVAILABLE")
    async with session(service.ws) as caller:
        engines = []
        for pause_s in (0.0, 0.0, 2.2):
            await asyncio.sleep(pause_s)
            await caller.audio(turn)
            final = await caller.hear(Final)
            assert final.text.split() == sentence(6)
            engines.append(final.engine)
            server.broken = None
        await caller.stop()
    assert engines == ["fake", "fake", "google"]
    assert service.metric("voice_asr_engine_open", engine="google") == 0


async def test_a_hang_is_noticed_at_the_turns_end(
    server: GoogleServer, start_service: Start
) -> None:
    service = start_service(config(server, "fake", final_timeout_s=0.4))
    said = sentence(8)
    server.broken = Fault("HANG", after_s=0.8)
    async with session(service.ws) as caller:
        await caller.audio(pcm(joined(spoken(said), silence(600))))
        began = time.monotonic()
        final = await caller.hear(Final)
        assert time.monotonic() - began < 5
        await caller.stop()
    assert (final.text.split(), final.engine) == (said, "fake")


async def test_the_service_starts_though_google_cannot_be_reached(start_service: Start) -> None:
    with google_server() as gone:
        nowhere = config(gone, "fake")
    service = start_service(nowhere)
    caller = await recognise(service.ws, pcm(joined(spoken(sentence(6)), silence(600))))
    assert said_by(caller) == sentence(6)
    assert [final.engine for final in caller.all(Final)] == ["fake"]


# Real speech.


@pytest.mark.models
async def test_whisper_takes_over_a_real_sentence(model_store: ModelStore, tmp_path: Path) -> None:
    """With Whisper behind the server too, so that both understand."""
    behind = WhisperEngine(EngineConfig(), model_store)
    behind.load()

    def understand(samples: Floats) -> str:
        [heard] = behind.transcribe([DecodeRequest(samples, final=True)])
        assert isinstance(heard, Hypothesis)
        return heard.text

    name = "confbridge-only-one.flac"
    tape = joined(silence(300), recording(name), silence(1200))
    with google_server(ServiceLimits(rate=1.25 * FAST), understand) as server:
        settings = config(server, "faster_whisper", final_timeout_s=30.0).model_copy(
            update={"vad": VadConfig()}
        )
        app = create_app(settings, model_store)
        with serving(app, settings.limits, ServerConfig(drain_s=0.5)) as service:
            engines = []
            for fault in (None, Fault("UNAVAILABLE", after_s=1.0)):
                server.broken = fault
                caller = await recognise(service.ws, pcm(tape))
                assert words_of(caller.text) == words_of(transcripts()[name])
                check_promises(caller)
                engines.append({final.engine for final in caller.all(Final) if final.text})
    assert engines == [{"google"}, {"faster_whisper"}]
    behind.close()
