"""A service that is told to stop: answers are spoken to their end, and nobody waits in between."""

import asyncio
import time

import pytest

from services.shared.protocol.base import ErrorCode
from services.shared.runtime.config import ServerConfig
from services.tts.messages import AudioFinished, AudioStarted, End, Pacing, Start, Text
from tests.services.serving import eventually
from tests.services.tts.client import session
from tests.services.tts.conftest import StartService

pytestmark = pytest.mark.timeout(30)


async def test_a_session_between_answers_ends_long_before_the_drain_is_over(
    start_service: StartService,
) -> None:
    service = await start_service(server=ServerConfig(drain_s=20.0))
    async with session(service.ws) as speaker:
        await speaker.send(Start(context_id="a"), Text(text="One two."), End())
        await speaker.hear(AudioFinished)
        service.terminate()
        began = time.monotonic()
        await speaker.hear_error(ErrorCode.SHUTTING_DOWN)
        assert await speaker.closed() == 1012
        assert time.monotonic() - began < 5.0
    await eventually(lambda: not service.running, 10)


async def test_an_answer_is_spoken_to_its_end(start_service: StartService) -> None:
    service = await start_service(delay_ms=100, server=ServerConfig(drain_s=20.0))
    words = "one two three four five six seven eight nine ten"
    async with session(service.ws) as speaker:
        await speaker.send(Start(context_id="a"), Text(text=words))
        await speaker.hear(AudioStarted)
        service.terminate()
        await asyncio.sleep(0.3)
        await speaker.send(End())
        finished = await speaker.hear(AudioFinished)
        await speaker.hear_error(ErrorCode.SHUTTING_DOWN)
        assert await speaker.closed() == 1012
    assert len(speaker.audio("a")) == finished.audio_ms * 32
    assert finished.audio_ms == sum(40 * len(word) + 20 for word in words.split())


async def test_an_answer_that_outlives_the_drain_is_spoken_to_its_end_and_none_follows(
    start_service: StartService,
) -> None:
    service = await start_service(server=ServerConfig(drain_s=0.3))
    words = "all of this is heard before the line goes dead"
    async with session(service.ws) as speaker:
        await speaker.send(Start(context_id="a", pacing=Pacing()), Text(text=words), End())
        await speaker.hear(AudioStarted)
        service.terminate()
        await eventually(lambda: service.lifecycle.closing.is_set())
        await speaker.send(Start(context_id="b"))
        refused = await speaker.hear_error(ErrorCode.SHUTTING_DOWN)
        assert refused.context_id == "b"
        finished = await speaker.hear(AudioFinished)
        error = await speaker.hear_error(ErrorCode.SHUTTING_DOWN)
        assert error.context_id is None
        assert await speaker.closed() == 1012
    assert len(speaker.audio("a")) == finished.audio_ms * 32
    assert finished.audio_ms > 1500
