"""The service's parts without a network."""

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator

import pytest
from prometheus_client import CollectorRegistry

from services.shared.models.store import ModelStore
from services.shared.protocol.base import ErrorCode, ProtocolError
from services.tts.config import TtsConfig, VoicesConfig
from services.tts.engines.base import AudioPiece, EngineError, SynthesisRequest
from services.tts.engines.fake import FakeEngine
from services.tts.metrics import TtsMetrics
from services.tts.service import TtsService
from services.tts.speakers import Speaker, SpeechStream
from tests.services.serving import eventually
from tests.services.tts.client import open_streams
from tests.services.tts.conftest import tones


def ask(text: str) -> SynthesisRequest:
    return SynthesisRequest(text, "fake-en")


@pytest.fixture
async def speaker() -> AsyncIterator[Speaker]:
    made = Speaker(FakeEngine(delay_s=0.01), TtsMetrics(CollectorRegistry()), timeout_s=10.0)
    made.start()
    yield made
    assert await made.scheduler.close()


async def pieces_of(speaker: Speaker, text: str) -> list[AudioPiece]:
    stream, pieces = speaker.open(ask(text)), list[AudioPiece]()
    while piece := await speaker.next_piece(stream, 0.0):
        pieces.append(piece)
    return pieces


def test_a_stream_gives_a_piece_a_step_and_then_none() -> None:
    stream = SpeechStream(FakeEngine(), ask("one two"))
    words = [piece.words[0].word for piece in iter(stream.step, None)]
    assert words == ["one", "two"]
    assert stream.step() is None


def test_a_cancelled_stream_closes_the_engines_generator_in_the_next_step() -> None:
    stream = SpeechStream(FakeEngine(), ask("one two"))
    assert stream.step() is not None
    generator = stream._pieces
    assert generator is not None
    stream.cancel()
    assert inspect.getgeneratorstate(generator) == inspect.GEN_SUSPENDED
    assert stream.step() is None
    assert inspect.getgeneratorstate(generator) == inspect.GEN_CLOSED


def test_a_stream_cancelled_before_its_first_step_never_starts() -> None:
    stream = SpeechStream(FakeEngine(), ask("CRASH"))
    stream.cancel()
    assert stream.step() is None


async def test_streams_share_the_engine_piece_by_piece(speaker: Speaker) -> None:
    long = asyncio.create_task(pieces_of(speaker, "wonderful " * 40))
    await asyncio.sleep(0.03)
    assert len(await pieces_of(speaker, "yes")) == 1
    assert not long.done()
    assert len(await long) == 40


async def test_the_more_urgent_stream_goes_first(speaker: Speaker) -> None:
    order = list[str]()

    async def one_piece(name: str, deadline: float) -> None:
        await speaker.next_piece(speaker.open(ask(name)), deadline)
        order.append(name)

    async with asyncio.TaskGroup() as group:
        for name, deadline in (("first", 9.0), ("late", 9.0), ("soon", 5.0), ("now", 1.0)):
            group.create_task(one_piece(name, deadline))
    assert order.index("now") < order.index("soon") < order.index("late")


async def test_an_abandoned_stream_is_closed_by_the_engines_thread(speaker: Speaker) -> None:
    stream = speaker.open(ask("one two three"))
    assert await speaker.next_piece(stream, 0.0)
    generator = stream._pieces
    assert generator is not None
    speaker.abandon(stream)
    await eventually(lambda: inspect.getgeneratorstate(generator) == inspect.GEN_CLOSED)


async def test_a_crash_tells_nothing_of_the_inside_and_the_next_text_is_spoken(
    speaker: Speaker,
) -> None:
    with pytest.raises(EngineError, match="failed on this text") as caught:
        await pieces_of(speaker, "one CRASH")
    assert caught.value.code is ErrorCode.ENGINE_FAILED
    assert len(await pieces_of(speaker, "two")) == 1


async def test_a_piece_that_takes_too_long_fails_and_frees_the_stream() -> None:
    slow = Speaker(FakeEngine(delay_s=0.2), TtsMetrics(CollectorRegistry()), timeout_s=0.05)
    slow.start()
    with pytest.raises(EngineError, match=r"0\.05 s"):
        await pieces_of(slow, "one two three")
    await eventually(lambda: open_streams() == 0)
    assert await slow.scheduler.close()


async def test_a_closed_speaker_says_that_it_shuts_down(speaker: Speaker) -> None:
    assert await speaker.scheduler.close()
    with pytest.raises(EngineError) as caught:
        await speaker.next_piece(speaker.open(ask("one")), 0.0)
    assert caught.value.code is ErrorCode.SHUTTING_DOWN
    speaker.abandon(speaker.open(ask("one")))


async def test_there_are_no_voices_before_the_models_are_loaded() -> None:
    service = TtsService(TtsConfig(engines=tones()), ModelStore(), CollectorRegistry())
    with pytest.raises(ProtocolError, match="loading") as caught:
        _ = service.voices
    assert caught.value.code is ErrorCode.OVERLOADED
    await service.load()
    assert service.voices.ids == ("fake-en", "fake-vi")
    assert service.speaker_of("fake-vi").engine.name == "fake"
    await service.unload()
    assert not [each for each in threading.enumerate() if each.name == "tts_fake"]


async def test_a_configured_voice_that_is_not_there_fails_the_start() -> None:
    config = TtsConfig(engines=tones(), voices=VoicesConfig(default="nobody"))
    service = TtsService(config, ModelStore(), CollectorRegistry())
    with pytest.raises(ValueError, match="nobody.*fake-en"):
        await service.load()
    await service.unload()


async def test_conversions_leave_the_event_loop() -> None:
    service = TtsService(TtsConfig(engines=tones()), ModelStore(), CollectorRegistry())
    assert await service.convert(threading.get_ident) != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        await service.convert(lambda: 1 // 0)
    await service.unload()
