"""A session that is over is gone at once: nothing of it waits for the garbage collector."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from services.asr.config import ResumeConfig
from services.asr.engines.base import DecodeRequest, EngineError, Hypothesis
from services.asr.engines.fake import FakeEngine
from services.asr.messages import Final, Ready
from services.shared.protocol.base import Error, ErrorCode
from services.shared.runtime.config import LimitsConfig
from tests.services.asr.client import Caller, recognise, session
from tests.services.asr.conftest import Start
from tests.services.asr.sounds import joined, pcm, silence, tone
from tests.services.uncollected import Way, leaves_nothing

TURN = pcm(joined(silence(200), tone(400, 600), silence(900)))
START: dict[str, Any] = {"partials": False, "turn": {"mode": "silence", "silence_ms": 300}}


async def lose(caller: Caller) -> None:
    caller.socket.transport.abort()
    await caller.socket.wait_closed()


async def stops(url: str) -> None:
    await recognise(url, TURN, **START)


async def leaves(url: str) -> None:
    async with session(url, start=START) as caller:
        await caller.audio(TURN)


async def vanishes(url: str) -> None:
    async with session(url, start=START) as caller:
        await caller.audio(TURN)
        await lose(caller)


async def misbehaves(url: str) -> None:
    async with session(url, start=START) as caller:
        await caller.say(type="nonsense")
        await caller.hear_error(ErrorCode.INVALID_MESSAGE, 1008)


async def comes_back(url: str) -> None:
    async with session(url, start={"resumable": True, **START}) as caller:
        await caller.audio(TURN)
        await caller.hear(Final)
        await lose(caller)
    query = f"?session_id={caller.all(Ready)[0].session_id}&last_event=1"
    async with session(url, query=query, ready=False) as again:
        await again.socket.send(json.dumps({"type": "stop"}))
        await again.closed()


async def does_not_come_back(url: str) -> None:
    async with session(url, start={"resumable": True, **START}) as caller:
        await caller.audio(TURN)
        await lose(caller)


async def says_nothing(url: str) -> None:
    async with session(url, start=START) as caller:
        await caller.hear_error(ErrorCode.IDLE_TIMEOUT)
        await caller.closed()


@pytest.mark.parametrize(
    "way", [stops, leaves, vanishes, misbehaves, comes_back, does_not_come_back, says_nothing]
)
async def test_an_ended_session_is_gone(start_service: Start, way: Way) -> None:
    limits = LimitsConfig(idle_s=0.5 if way is says_nothing else 30.0)
    await leaves_nothing(start_service(limits=limits, resume=ResumeConfig(window_s=0.3)), way)


async def test_a_session_whose_engine_fails_is_gone(start_service: Start) -> None:
    class Broken(FakeEngine):
        def transcribe(self, requests: Sequence[DecodeRequest]) -> list[Hypothesis | Exception]:
            raise EngineError("it is broken")

    async def fails(url: str) -> None:
        async with session(url, start=START) as caller:
            await caller.audio(TURN)
            while not caller.all(Error):
                await caller.next()

    await leaves_nothing(start_service(engine_is=Broken()), fails)
