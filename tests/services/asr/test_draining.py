"""A service that is told to stop: nobody loses a word, and nobody waits for the telephone."""

import asyncio
import time
from typing import Any

import httpx
import pytest
from pydantic import BaseModel
from websockets.exceptions import InvalidStatus

from services.asr.link import Link
from services.asr.messages import Ack, Final, Handover, Ready, Resumed, SpeechStarted, Stopped
from services.shared.protocol.base import Error, ErrorCode
from services.shared.runtime.config import ServerConfig
from services.shared.runtime.lifecycle import Phase
from tests.services.asr.client import Caller, session
from tests.services.asr.conftest import Start
from tests.services.asr.sounds import joined, pcm, silence, tone
from tests.services.process import FAKE_ASR, service_process
from tests.services.serving import LiveService, eventually
from tests.services.tts.cloning.recordings import wav

pytestmark = pytest.mark.timeout(60)

TURN = pcm(joined(silence(200), tone(400, 1000), silence(900)))
SILENCE: dict[str, Any] = {"turn": {"mode": "silence", "silence_ms": 300}}


def draining(start_service: Start, drain_s: float, **sections: object) -> LiveService:
    return start_service(server=ServerConfig(drain_s=drain_s), **sections)


async def goodbye(caller: Caller) -> Handover:
    """Read to the end, which is a handover."""
    handover = await caller.hear(Handover)
    await caller.hear_error(ErrorCode.SHUTTING_DOWN, close=1012)
    return handover


async def test_a_session_between_turns_is_handed_over_long_before_the_drain_is_over(
    start_service: Start,
) -> None:
    service = draining(start_service, 30.0)
    async with session(service.ws, start=SILENCE) as caller:
        await caller.audio(TURN)
        final = await caller.hear(Final)
        service.terminate()
        began = time.monotonic()
        handover = await goodbye(caller)
        assert time.monotonic() - began < 10
    assert final.turn_end
    sent = 1 + (len(TURN) + 3199) // 3200
    assert (handover.received, handover.received_ms) == (sent, len(TURN) // 32)
    assert handover.dropped_ms == 0
    await eventually(lambda: not service.running, 10)


@pytest.mark.real_time
async def test_who_is_speaking_is_heard_out(start_service: Start) -> None:
    service = draining(start_service, 30.0)
    async with session(service.ws, start=SILENCE) as caller:
        speech = pcm(joined(tone(400, 2500), silence(900)))
        await caller.audio(speech[:16_000])
        await caller.hear(SpeechStarted)
        service.terminate()
        await eventually(lambda: service.lifecycle.phase is Phase.DRAINING)
        for at in range(16_000, len(speech), 3200):
            await caller.audio(speech[at : at + 3200])
            await asyncio.sleep(0.05)
        handover = await goodbye(caller)
    assert caller.text.split() in (["w4"] * 12, ["w4"] * 13)
    assert handover.received_ms == len(speech) // 32


@pytest.mark.real_time
async def test_a_turn_that_outlives_the_drain_gets_its_final(start_service: Start) -> None:
    service = draining(start_service, 0.3, delay_ms=500)
    async with session(service.ws, start={"partials": False, **SILENCE}) as caller:
        speech = pcm(tone(400, 3000))
        await caller.audio(speech[:32_000])
        await caller.hear(SpeechStarted)
        service.terminate()

        async def speak_on() -> None:
            for at in range(32_000, len(speech), 640):
                await caller.audio(speech[at : at + 640], size=640)
                await asyncio.sleep(0.04)

        speaking = asyncio.create_task(speak_on())
        handover = await goodbye(caller)
        speaking.cancel()
    [final] = caller.all(Final)
    assert final.turn_end
    heard = handover.received_ms
    assert 1000 < heard < 3000, "it was cut off, two seconds after the drain"
    assert len(final.text.split()) == heard // 200 or heard % 200 >= 100


async def test_nobody_new_comes_in_but_who_was_there_comes_back(start_service: Start) -> None:
    service = draining(start_service, 30.0)
    async with session(service.ws, start={"resumable": True, **SILENCE}) as first:
        await first.audio(TURN[:28_800])
        await first.hear(SpeechStarted)
        first.socket.transport.abort()
    service.terminate()
    await eventually(lambda: service.lifecycle.phase is Phase.DRAINING)
    async with httpx.AsyncClient(trust_env=False) as http:
        assert (await http.get(f"{service.http}/health/ready")).status_code == 503
        assert (await http.get(f"{service.http}/health/live")).status_code == 200
        refused = await http.post(f"{service.http}/v1/transcribe", files={"file": b"RIFF"})
        assert (refused.status_code, refused.json()["code"]) == (503, "shutting_down")
        assert int(refused.headers["Retry-After"]) >= 1
    with pytest.raises(InvalidStatus) as caught:
        async with session(service.ws):
            pass
    assert caught.value.response.status_code == 503
    assert caught.value.response.headers["Retry-After"]
    id = first.all(Ready)[0].session_id
    query = f"?session_id={id}&last_event=1"
    async with session(service.ws, query=query, ready=False) as second:
        received = (await second.hear(Resumed)).received
        await second.audio(TURN[(received - 1) * 3200 :])
        handover = await goodbye(second)
    assert set(second.text.split()) == {"w4"}
    assert len(second.text.split()) >= 5
    assert handover.received_ms == len(TURN) // 32


async def test_a_session_that_waits_for_its_client_is_given_up_with_the_drain(
    start_service: Start,
) -> None:
    service = draining(start_service, 0.5)
    async with session(service.ws, start={"resumable": True, **SILENCE}) as caller:
        await caller.audio(TURN[:28_800])
        await caller.hear(SpeechStarted)
        caller.socket.transport.abort()
    await eventually(lambda: service.metric("voice_asr_parked_sessions") == 1)
    began = time.monotonic()
    service.terminate()
    await eventually(lambda: not service.running, 10)
    assert time.monotonic() - began >= 0.5


async def test_a_handover_that_was_lost_on_its_way_is_fetched(start_service: Start) -> None:
    """Nobody else is there, so that the process could end as soon as it has said it."""
    service = draining(start_service, 30.0)
    async with session(service.ws, start={"resumable": True, **SILENCE}) as first:
        await first.audio(TURN)
        final = await first.hear(Final)
        first.socket.transport.pause_reading()  # what comes now is on its way, and no further
        service.terminate()
        await eventually(lambda: service.lifecycle.sessions == 0)
        first.socket.transport.abort()
    query = f"?session_id={first.all(Ready)[0].session_id}&last_event={final.event}"
    async with session(service.ws, query=query, ready=False) as second:
        await second.hear(Resumed)
        handover = await goodbye(second)
    assert handover.received_ms == len(TURN) // 32
    await eventually(lambda: not service.running, 10)


@pytest.mark.parametrize("last", [Handover, Stopped])
async def test_nothing_is_acknowledged_behind_the_last_word(
    start_service: Start, monkeypatch: pytest.MonkeyPatch, last: type[Handover | Stopped]
) -> None:
    """It has told the count, and who goes on elsewhere counts anew."""
    send = Link.send

    def send_as_the_clock_ticks(link: Link, message: BaseModel) -> None:
        send(link, message)
        if isinstance(message, last):
            link.acknowledge(time.monotonic() + 7200)

    monkeypatch.setattr(Link, "send", send_as_the_clock_ticks)
    monkeypatch.setattr("services.asr.link._ACK_S", 3600.0)
    service = draining(start_service, 30.0)
    async with session(service.ws, start={"resumable": True, **SILENCE}) as caller:
        await caller.audio(TURN)
        await caller.hear(Final)
        while not caller.all(Ack):
            await caller.next()
        await caller.audio(bytes(640))  # not acknowledged for an hour
        if last is Stopped:
            await caller.say(type="stop")
        else:
            service.terminate()
        await caller.closed()
    said = [type(message) for message in caller.log]
    assert last in said
    assert Ack not in said[said.index(last) :]


async def test_a_file_that_outlives_the_drain_is_for_another_instance(
    start_service: Start,
) -> None:
    service = draining(start_service, 0.3, delay_ms=700)
    sound = joined(*[tone(400, 3000), silence(1000)] * 8)
    async with httpx.AsyncClient(trust_env=False, timeout=20) as http:
        url = f"{service.http}/v1/transcribe"
        asking = asyncio.create_task(http.post(url, files={"file": ("a.wav", wav(sound, 16_000))}))
        await eventually(lambda: service.lifecycle.sessions == 1)
        service.terminate()
        answer = await asking
    assert (answer.status_code, answer.json()["code"]) == (503, "shutting_down")
    assert answer.headers["Retry-After"]


@pytest.mark.slow
async def test_sigterm_in_the_middle_of_a_word_loses_no_turn() -> None:
    settings = {"ASR__SERVER__DRAIN_S": "0.5", "ASR__ENGINE__DELAY_MS": "300"}
    async with service_process("asr", **FAKE_ASR, **settings) as service:
        await service.ready()
        callers = []
        for hertz in (400, 900, 1300):
            caller = await open_session(service.ws, hertz)
            callers.append(asyncio.create_task(caller))
        await asyncio.sleep(1.0)
        service.terminate()
        for hertz, (log, sent) in zip(
            (400, 900, 1300), await asyncio.gather(*callers), strict=True
        ):
            finals = [message for message in log if isinstance(message, Final)]
            assert sum(final.turn_end for final in finals) == 1
            handover, error = log[-2:]
            assert isinstance(handover, Handover)
            assert isinstance(error, Error)
            assert error.code is ErrorCode.SHUTTING_DOWN
            assert handover.received <= sent
            words = " ".join(final.text for final in finals).split()
            assert set(words) == {f"w{hertz // 100}"}
            assert abs(len(words) - handover.received_ms / 200) <= 1
        assert await service.ended() == 0


async def open_session(url: str, hertz: int) -> Any:
    """A caller who speaks without end, and what it was told until it was closed."""

    async def call() -> tuple[list[Any], int]:
        async with session(url, start={"partials": False, **SILENCE}) as caller:
            speech, sent = pcm(tone(hertz, 10_000)), 1

            async def speak() -> None:
                nonlocal sent
                for at in range(0, len(speech), 640):
                    await caller.socket.send(speech[at : at + 640])
                    sent += 1
                    await asyncio.sleep(0.02)

            speaking = asyncio.create_task(speak())
            assert await caller.closed() == 1012
            speaking.cancel()
            await asyncio.gather(speaking, return_exceptions=True)
            return caller.log, sent

    return call()
