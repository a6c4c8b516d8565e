"""A service that is starved: what it gives up, whom it refuses, and that every final comes."""

import asyncio
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry
from websockets.exceptions import InvalidStatus

from services.asr.config import AdmissionConfig
from services.asr.degradation import Level
from services.asr.engines.base import DecodeRequest
from services.asr.engines.fake import FakeEngine
from services.asr.messages import Final, Partial
from services.asr.metrics import AsrMetrics
from services.asr.overload import Overload
from services.shared.protocol.base import ErrorCode, ProtocolError
from tests.services.asr.client import session
from tests.services.asr.conftest import Start
from tests.services.asr.sounds import joined, pcm, silence, tone
from tests.services.serving import LiveService, eventually

pytestmark = pytest.mark.timeout(60)

SENSITIVE = AdmissionConfig(
    sparse_late_ms=150, finals_only_late_ms=250, refuse_late_ms=400, return_s=0.3
)
SILENCE: dict[str, Any] = {"turn": {"mode": "silence", "silence_ms": 300}}


class StarvedEngine(FakeEngine):
    """One decode at a time, each as slow as it is told to be."""

    def __init__(self) -> None:
        super().__init__()
        self.starve(0.01)

    def starve(self, delay_s: float) -> None:
        self._delay_s = delay_s

    def batch_key(self, request: DecodeRequest) -> object:
        return object()


async def talk(service: LiveService, hertz: int, turns: int) -> tuple[list[Final], int]:
    """A caller's conversation in real time: its finals and how many partials it heard."""
    sound = pcm(joined(silence(100), tone(hertz, 800), silence(500)))
    async with session(service.ws, start=SILENCE) as caller:
        for _ in range(turns):
            for at in range(0, len(sound), 3200):
                await caller.audio(sound[at : at + 3200])
                await asyncio.sleep(0.1)
        await caller.stop()
        return caller.all(Final), len(caller.all(Partial))


async def refused(service: LiveService) -> httpx.Headers | None:
    try:
        async with session(service.ws):
            return None
    except InvalidStatus as refusal:
        assert refusal.response.status_code == 503
        assert b'"overloaded"' in (refusal.response.body or b"")
        return httpx.Headers(list(refusal.response.headers.raw_items()))


@pytest.mark.slow
async def test_it_degrades_in_order_refuses_and_recovers(start_service: Start) -> None:
    engine = StarvedEngine()
    service = start_service(engine_is=engine, admission=SENSITIVE)

    def level() -> float:
        return service.metric("voice_asr_degradation")

    # What it costs when nothing is wrong.
    [[final], _] = await talk(service, 400, 1)
    assert final.text
    assert level() == Level.NORMAL

    callers = [asyncio.create_task(talk(service, 400 + 100 * index, 4)) for index in range(6)]
    await asyncio.sleep(0.8)
    engine.starve(0.25)
    seen = [Level.NORMAL]
    async with asyncio.timeout(10):
        while seen[-1] is not Level.REFUSING:
            now = Level(int(level()))
            if now is not seen[-1]:
                seen.append(now)
            await asyncio.sleep(0.05)
    assert seen == list(Level), "in the published order"
    headers = await refused(service)
    assert headers is not None
    assert int(headers["Retry-After"]) >= 1
    async with httpx.AsyncClient(trust_env=False) as http:
        ready = await http.get(f"{service.http}/health/ready")
        assert ready.status_code == 503
        assert "finals are about" in ready.json()["troubles"][0]
        assert (await http.get(f"{service.http}/health/live")).status_code == 200
        upload = await http.post(f"{service.http}/v1/transcribe", files={"file": b"RIFF"})
        assert (upload.status_code, upload.json()["code"]) == (503, ErrorCode.OVERLOADED)
    assert service.metric("voice_sessions_refused_total", reason="overloaded") == 2
    assert service.metric("voice_asr_late_seconds") >= 0.4
    engine.starve(0.01)

    for index, (finals, _) in enumerate(await asyncio.gather(*callers)):
        told = [final for final in finals if final.text]
        assert [final.turn_end for final in told] == [True] * 4
        assert {word for final in told for word in final.text.split()} == {f"w{4 + index}"}
        assert not any(final.suppressed for final in told)
    await eventually(lambda: level() == Level.NORMAL, 30)
    assert await refused(service) is None


@pytest.mark.real_time
async def test_a_long_queue_costs_no_final(start_service: Start) -> None:
    """Each waits for longer than a decode may take; only a model that hangs is given up."""
    engine = StarvedEngine()
    engine.starve(0.2)
    service = start_service(engine_is=engine, engine_timeout_s=0.5, admission={"enabled": False})
    sound = pcm(joined(silence(100), tone(400, 800), silence(200)))

    async def call() -> Final:
        async with session(service.ws, start={"partials": False, **SILENCE}) as caller:
            await caller.audio(sound)
            await caller.stop()
            return caller.all(Final)[0]

    finals = await asyncio.gather(*(call() for _ in range(8)))
    assert all(final.text and not final.suppressed for final in finals)
    assert max(final.timings.queue_ms for final in finals) > 1000


@dataclass
class Crowd:
    """Who is there, without their sessions."""

    sessions: int
    new: int = 0

    def newcomers(self, within_s: float) -> int:
        return self.new


@pytest.mark.parametrize(
    ("older", "new", "comes_in"),
    [(0, 0, True), (0, 4, True), (0, 5, False), (3, 5, False), (9, 8, True), (9, 9, False)],
)
def test_a_ramp_waits_until_it_shows_what_it_costs(older: int, new: int, *, comes_in: bool) -> None:
    """Five at once, or as many as there are already: those of an instance that died."""
    config = AdmissionConfig(newcomers=5)
    overload = Overload(config, (), (), AsrMetrics(CollectorRegistry()))
    overload.census = Crowd(older + new, new)
    try:
        overload.check()
    except ProtocolError as refusal:
        assert not comes_in
        assert refusal.code is ErrorCode.OVERLOADED
        assert refusal.retry_after_s == 3
    else:
        assert comes_in


async def test_those_who_left_are_no_newcomers(start_service: Start) -> None:
    service = start_service(admission=AdmissionConfig(newcomers=2))
    for _ in range(4):
        assert await refused(service) is None
        await eventually(lambda: service.lifecycle.sessions == 0)
    async with session(service.ws), session(service.ws):
        headers = await refused(service)
        assert headers is not None
        assert headers["Retry-After"] == "3"


def test_an_idle_service_refuses_nobody() -> None:
    overload = Overload(AdmissionConfig(), (), (), AsrMetrics(CollectorRegistry()))
    there = Crowd(1)
    overload.census = there
    for tenth in range(100):
        overload.look(lag_s=5.0, now=tenth / 10)
    assert overload.level is Level.REFUSING
    with pytest.raises(ProtocolError):
        overload.check()
    there.sessions = 0
    overload.check()
    assert overload.trouble() is None
