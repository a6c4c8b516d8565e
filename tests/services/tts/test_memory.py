"""A session that is over is gone at once: nothing of it waits for the garbage collector."""

import json
from collections.abc import Iterator

import pytest

from services.shared.protocol.base import Error, ErrorCode
from services.shared.runtime.config import LimitsConfig
from services.tts.engines.base import AudioPiece, EngineError, SynthesisRequest
from services.tts.engines.fake import FakeEngine
from services.tts.messages import AudioFinished, AudioStarted, Cancel, End, Start, Text
from tests.services.tts.client import session
from tests.services.tts.conftest import StartService
from tests.services.uncollected import Way, leaves_nothing

SPEECH = (Start(context_id="a"), Text(context_id="a", text="Good morning. How are you?"))


async def listens(url: str) -> None:
    async with session(url) as speaker:
        await speaker.send(*SPEECH, End(context_id="a"))
        await speaker.hear(AudioFinished)


async def interrupts(url: str) -> None:
    async with session(url) as speaker:
        await speaker.send(*SPEECH)
        await speaker.hear(AudioStarted)
        await speaker.send(Cancel(context_id="a"))
        await speaker.send(*SPEECH, End(context_id="a"))
        await speaker.hear(AudioFinished)


async def vanishes(url: str) -> None:
    async with session(url) as speaker:
        await speaker.send(*SPEECH)
        await speaker.hear(AudioStarted)
        speaker.socket.transport.abort()
        await speaker.socket.wait_closed()


async def misbehaves(url: str) -> None:
    async with session(url) as speaker:
        await speaker.send(*SPEECH)
        await speaker.send_raw(json.dumps({"type": "nonsense"}))
        await speaker.hear(Error)


async def says_nothing(url: str) -> None:
    async with session(url) as speaker:
        await speaker.hear_error(ErrorCode.IDLE_TIMEOUT)
        await speaker.closed()


@pytest.mark.parametrize("way", [listens, interrupts, vanishes, misbehaves, says_nothing])
async def test_an_ended_session_is_gone(start_service: StartService, way: Way) -> None:
    limits = LimitsConfig(idle_s=0.5 if way is says_nothing else 30.0)
    await leaves_nothing(await start_service(delay_ms=20, limits=limits), way)


async def test_a_session_whose_engine_fails_is_gone(
    start_service: StartService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def synthesize(_self: FakeEngine, _request: SynthesisRequest) -> Iterator[AudioPiece]:
        raise EngineError("it is broken")

    async def fails(url: str) -> None:
        async with session(url) as speaker:
            await speaker.send(*SPEECH)
            while not speaker.all(Error):
                await speaker.next()

    live = await start_service()
    monkeypatch.setattr(FakeEngine, "synthesize", synthesize)
    await leaves_nothing(live, fails)
