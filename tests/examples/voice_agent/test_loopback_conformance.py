"""The loopback does for a conversation what a telephone line does."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from examples.asterisk_bridge.echo import tone
from examples.voice_agent.loopback import TELEPHONE, LoopbackTransport
from examples.voice_agent.transport import CallInfo
from services.shared.audio.pcm import AudioFormat, Encoding, Floats
from tests.examples.call_conformance import *  # noqa: F403 - these are the tests
from tests.examples.call_conformance import Converse, Phone, PlaceCall

pytestmark = pytest.mark.slow


class LoopbackPhone:
    def __init__(self, line: LoopbackTransport) -> None:
        self._line = line
        self.rate = line.audio_format.sample_rate
        self.over = asyncio.Event()
        self.hung_up_by_us = False

    @property
    def heard(self) -> Floats:
        return self._line.audio_format.decode(bytes(self._line.agent))

    @property
    def answered_s(self) -> float | None:
        answered_at = self._line.answered_at
        return None if answered_at is None else answered_at - self._line.began_at

    def now_s(self) -> float:
        return time.monotonic() - self._line.began_at

    def speak(self, seconds: float, hertz: float) -> None:
        self._line.say(tone(self._line.audio_format, seconds, hertz))

    async def press(self, key: str) -> None:
        self._line.press(key)

    async def hang_up(self) -> None:
        self.hung_up_by_us = True
        self._line.caller_hangs_up()


@pytest.fixture(params=[TELEPHONE, AudioFormat(Encoding.PCM_S16LE, 16_000)], ids=["ulaw", "slin16"])
def place_call(request: pytest.FixtureRequest) -> PlaceCall:
    @asynccontextmanager
    async def place(converse: Converse) -> AsyncIterator[Phone]:
        line = LoopbackTransport(CallInfo("c", "caller", "1000", goes_on=True), request.param)
        phone = LoopbackPhone(line)

        async def carry() -> None:
            await line.run()
            phone.over.set()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(carry())
            talking = tasks.create_task(converse(line))
            async with asyncio.timeout(5):
                while line.answered_at is None:  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
            yield phone
            line.caller_hangs_up()
            await asyncio.wait([talking], timeout=5)

    return place
