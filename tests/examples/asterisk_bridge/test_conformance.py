"""What every media must do for a conversation, on a real Asterisk, heard by a real phone."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from examples.asterisk_bridge.bench.asterisk_server import AsteriskServer
from examples.asterisk_bridge.bench.caller import PhoneCall, dial
from examples.asterisk_bridge.bench.measure import tone_level
from examples.asterisk_bridge.bench.recording import RATE
from examples.asterisk_bridge.bridge import Bridge
from examples.asterisk_bridge.echo import tone
from examples.voice_agent.transport import CallTransport, HungUp
from services.shared.audio.pcm import AudioFormat, Encoding, Floats
from tests.examples.call_conformance import *  # noqa: F403 - these are the tests
from tests.examples.call_conformance import Converse, Phone, PlaceCall, Script

pytestmark = [pytest.mark.asterisk, pytest.mark.slow]

RunBridge = Callable[..., AbstractAsyncContextManager[Bridge]]
PHONE = AudioFormat(Encoding.MULAW, RATE)
FALLBACK_HZ = 1004


@pytest.fixture(params=["websocket-ulaw", "websocket-slin16", "rtp-ulaw", "rtp-alaw"])
def media(request: pytest.FixtureRequest) -> dict[str, str]:
    kind, media_format = str(request.param).split("-")
    return {"media": kind, "media_format": media_format}


class SipPhone:
    """The bench's phone."""

    def __init__(self, call: PhoneCall) -> None:
        self._call = call
        self.over = call.over
        self.rate = RATE

    @property
    def heard(self) -> Floats:
        return self._call.recorder.agent

    @property
    def answered_s(self) -> float | None:
        return self._call.answered_s

    @property
    def hung_up_by_us(self) -> bool:
        return self._call.hung_up_by_us

    def now_s(self) -> float:
        return self._call.now_s()

    def speak(self, seconds: float, hertz: float) -> None:
        self._call.play(tone(PHONE, seconds, hertz))

    async def press(self, key: str) -> None:
        await self._call.press(key)

    async def hang_up(self) -> None:
        await self._call.hang_up()


@pytest.fixture
def place_call(asterisk: AsteriskServer, run_bridge: RunBridge, media: dict[str, str]) -> PlaceCall:
    @asynccontextmanager
    async def place(converse: Converse) -> AsyncIterator[Phone]:
        async with run_bridge(asterisk, converse, **media) as bridge:
            async with asyncio.timeout(5):
                await bridge.socket.connected.wait()
                await asyncio.sleep(0.05)
            async with dial(("127.0.0.1", asterisk.sip_port), "1000") as call:
                yield SipPhone(call)

    return place


async def test_a_conversation_that_returns_hangs_up(place_call: PlaceCall) -> None:
    async def brief(line: CallTransport) -> None:
        await line.answer()

    async with place_call(brief) as call, asyncio.timeout(3):
        await call.over.wait()
    assert not call.hung_up_by_us


async def test_a_transfer_goes_to_another_extension(place_call: PlaceCall) -> None:
    script = Script()
    async with place_call(script) as call:
        line = await script.line()
        with pytest.raises(ValueError, match="no extension 9999"):
            await line.transfer("9999")
        await line.transfer("2000")
        (event,) = await script.wait_for(HungUp)
        await asyncio.sleep(0.6)
        assert not call.over.is_set()
    assert event == HungUp("transferred", by_caller=False)
    assert tone_level(call.heard[-RATE // 4 :], RATE, FALLBACK_HZ) > 0.9


async def test_a_call_that_is_given_back_goes_on_in_the_dial_plan(place_call: PlaceCall) -> None:
    script = Script()
    async with place_call(script) as call:
        line = await script.line()
        await line.give_back()
        await asyncio.sleep(0.6)
        assert not call.over.is_set()
    assert tone_level(call.heard[-RATE // 4 :], RATE, FALLBACK_HZ) > 0.9
