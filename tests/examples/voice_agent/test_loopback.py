"""The line without a network, and the mouth that speaks into it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest

from examples.voice_agent.events import AudioSent, Event, Heard, TimedWord
from examples.voice_agent.loopback import TELEPHONE, LoopbackTransport
from examples.voice_agent.mouth import Mouth
from examples.voice_agent.transport import (
    AudioIn,
    CallInfo,
    HungUp,
    MarkPlayed,
    TransportClosed,
    TransportEvent,
)
from tests.services.serving import eventually


def ramp(ms: int) -> bytes:
    """µ-law bytes that are all different from silence, and tell where they are."""
    return bytes(i % 100 for i in range(8 * ms))


class Line:
    def __init__(self) -> None:
        self.transport = LoopbackTransport(CallInfo("c", "1", "2"))
        self.events: list[TransportEvent] = []
        self.told: list[Event] = []
        self.mouth = Mouth(self.transport, self.told.append)

    async def listen(self) -> None:
        async for event in self.transport.events():
            self.events.append(event)
            if isinstance(event, MarkPlayed):
                self.mouth.mark_played(event.name)

    @property
    def heard(self) -> bytes:
        silence = TELEPHONE.encode(np.zeros(1, np.float32))
        return bytes(self.transport.agent).strip(silence)

    async def until_heard(self, utterance: int) -> None:
        await eventually(
            lambda: any(
                isinstance(e, Heard) and e.end and e.utterance == utterance for e in self.told
            )
        )


@asynccontextmanager
async def line() -> AsyncIterator[Line]:
    """A call with somebody who listens and a mouth that speaks."""
    made = Line()
    tasks = [
        asyncio.create_task(work)
        for work in (made.transport.run(), made.listen(), made.mouth.run())
    ]
    try:
        yield made
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_pause_loses_and_repeats_nothing() -> None:
    async with line() as call:
        call.mouth.add(1, ramp(600))
        call.mouth.complete(1)
        call.mouth.play(1)
        await asyncio.sleep(0.2)
        call.mouth.pause()
        await asyncio.sleep(0.05)
        before = len(call.transport.agent)
        await asyncio.sleep(0.2)
        silence = TELEPHONE.encode(np.zeros(1, np.float32))
        assert set(call.transport.agent[before:]) == set(silence)
        call.mouth.resume()
        await call.until_heard(1)
        assert call.heard.replace(silence, b"") == ramp(600)


async def test_a_flush_forgets_and_what_is_said_next_is_heard() -> None:
    async with line() as call:
        call.mouth.add(1, ramp(5000))
        call.mouth.play(1)
        await asyncio.sleep(0.2)
        call.mouth.silence()
        call.mouth.add(2, b"\x07" * 800)
        call.mouth.complete(2)
        call.mouth.play(2)
        await call.until_heard(2)
        assert 800 < len(call.heard.rstrip(b"\x07")) < 8 * 4000
        assert call.heard.endswith(b"\x07" * 800)


async def test_clauses_are_marked_where_they_end() -> None:
    async with line() as call:
        words = ("One,", 0, 100), ("two", 100, 200), ("three.", 200, 300)
        call.mouth.add_words(1, tuple(TimedWord(*word) for word in words))
        call.mouth.add(1, ramp(300))
        call.mouth.complete(1)
        call.mouth.play(1)
        await call.until_heard(1)
        marks = [(e.ms, e.end) for e in call.told if isinstance(e, Heard)]
        assert marks == [(100, False), (300, False), (300, True)]
        assert sum(e.ms for e in call.told if isinstance(e, AudioSent)) == 300


async def test_a_sentence_may_go_before_speech_that_has_stalled() -> None:
    async with line() as call:
        call.mouth.add(1, b"\x01" * 400)
        call.mouth.play(1)
        await eventually(lambda: any(isinstance(e, AudioSent) for e in call.told))
        call.mouth.add(2, b"\x02" * 400)
        call.mouth.complete(2)
        call.mouth.play(2, first=True)
        await call.until_heard(2)
        call.mouth.add(1, b"\x03" * 400)
        call.mouth.complete(1)
        await call.until_heard(1)
        order = [byte for byte in call.heard if byte in (1, 2, 3)]
        assert order == [1] * 400 + [2] * 400 + [3] * 400


async def test_the_caller_is_heard_in_order_and_hanging_up_is_the_last_event() -> None:
    async with line() as call:

        def audio() -> bytes:
            return b"".join(e.data for e in call.events if isinstance(e, AudioIn))

        call.transport.say(ramp(100))
        await eventually(lambda: ramp(100) in audio())
        call.transport.caller_hangs_up()
        await eventually(lambda: isinstance(call.events[-1], HungUp))
        with pytest.raises(TransportClosed):
            await call.transport.send_audio(b"")
