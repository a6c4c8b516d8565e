"""What every transport must do for a conversation; imported by the tests of each of them."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import numpy as np
import pytest

from examples.asterisk_bridge.bench.measure import (
    first_sound,
    silence_after_s,
    sound_spans,
    tone_level,
)
from examples.asterisk_bridge.echo import tone
from examples.voice_agent.transport import (
    AudioIn,
    CallTransport,
    Digit,
    HungUp,
    MarkPlayed,
    TransportClosed,
    TransportEvent,
)
from services.shared.audio.pcm import Floats

HZ = 613.0
"""Hardly a sample of it is zero."""


class Phone(Protocol):
    """The caller's end of a call that was answered. Times are seconds of its recording."""

    @property
    def over(self) -> asyncio.Event:
        """The call has ended, whoever ended it."""
        ...

    @property
    def hung_up_by_us(self) -> bool: ...

    @property
    def rate(self) -> int: ...

    @property
    def heard(self) -> Floats:
        """The recording of what the other side said."""
        ...

    @property
    def answered_s(self) -> float | None: ...

    def now_s(self) -> float: ...

    def speak(self, seconds: float, hertz: float) -> None:
        """A tone into the telephone."""
        ...

    async def press(self, key: str) -> None: ...

    async def hang_up(self) -> None: ...


Converse = Callable[[CallTransport], Coroutine[Any, Any, None]]
PlaceCall = Callable[[Converse], AbstractAsyncContextManager[Phone]]
"""A call from "caller" to "1000", answered, that this talks to."""


class Script:
    """A conversation that a test writes as it goes: commands from there, events kept here."""

    def __init__(self) -> None:
        self.transport: CallTransport | None = None
        self.began = asyncio.Event()
        self.over = asyncio.Event()
        self.events: list[TransportEvent] = []
        self.audio = bytearray()
        self._news = asyncio.Event()

    async def __call__(self, transport: CallTransport) -> None:
        await transport.answer()
        self.transport = transport
        self.began.set()
        async for event in transport.events():
            if isinstance(event, AudioIn):
                self.audio += event.data
            else:
                self.events.append(event)
                self._news.set()
        self.over.set()

    async def line(self) -> CallTransport:
        async with asyncio.timeout(5):
            await self.began.wait()
        assert self.transport is not None
        return self.transport

    async def wait_for(self, wanted: type[TransportEvent], count: int = 1) -> list[TransportEvent]:
        async with asyncio.timeout(8):
            while len(found := [each for each in self.events if isinstance(each, wanted)]) < count:
                self._news.clear()
                await self._news.wait()
        return found

    @property
    def marks(self) -> list[str]:
        return [each.name for each in self.events if isinstance(each, MarkPlayed)]


def part(samples: Floats, rate: int, begin_s: float, end_s: float) -> Floats:
    return samples[round(begin_s * rate) : round(end_s * rate)]


def loud_s(samples: Floats, rate: int) -> float:
    """How long the tone was heard: all its samples but those near zero. A frame is 20 ms."""
    return np.count_nonzero(np.abs(samples) > 0.001) / rate


async def test_sound_travels_both_ways(place_call: PlaceCall) -> None:
    script = Script()
    async with place_call(script) as call:
        line = await script.line()
        assert line.info.called == "1000" and line.info.caller == "caller"
        await line.send_audio(tone(line.audio_format, 1.0, HZ))
        call.speak(1.0, 1000)
        await asyncio.sleep(1.5)
    heard = line.audio_format.decode(bytes(script.audio))
    (span,) = sound_spans(call.heard, call.rate)
    assert loud_s(call.heard, call.rate) == pytest.approx(1.0, abs=0.019)
    assert (
        tone_level(part(call.heard, call.rate, span[0] + 0.1, span[1] - 0.1), call.rate, HZ) > 0.95
    )
    rate = line.audio_format.sample_rate
    (span,) = sound_spans(heard, rate)
    assert span[1] - span[0] == pytest.approx(1.0, abs=0.05)
    inner = heard[round((span[0] + 0.1) * rate) : round((span[1] - 0.1) * rate)]
    assert tone_level(inner, rate, 1000) > 0.95


async def test_the_greeting_is_heard_right_after_the_answer(place_call: PlaceCall) -> None:
    async def greet(line: CallTransport) -> None:
        await line.answer()
        await line.send_audio(tone(line.audio_format, 0.4, HZ))
        async for _ in line.events():
            pass

    async with place_call(greet) as call:
        await asyncio.sleep(0.7)
    begin = first_sound(call.heard, call.rate)
    assert begin is not None and call.answered_s is not None
    assert begin - call.answered_s < 0.3


async def test_marks_come_when_their_audio_has_been_played(place_call: PlaceCall) -> None:
    script = Script()
    async with place_call(script):
        line = await script.line()
        began = time.monotonic()
        await line.mark("at once")
        await line.send_audio(tone(line.audio_format, 0.507, HZ))
        await line.mark("first")
        await line.send_audio(tone(line.audio_format, 0.313, HZ))
        await line.mark("second")
        await script.wait_for(MarkPlayed, 3)
    assert script.marks == ["at once", "first", "second"]
    times = [each.at_s - began for each in script.events if isinstance(each, MarkPlayed)]
    assert times[0] < 0.15
    assert times[1] == pytest.approx(0.507, abs=0.12)
    assert times[2] == pytest.approx(0.820, abs=0.12)


async def test_portions_of_any_size_are_one_sound(place_call: PlaceCall) -> None:
    script = Script()
    async with place_call(script) as call:
        line = await script.line()
        whole = tone(line.audio_format, 1.0, HZ)
        step = line.audio_format.frame_bytes * 77
        for start in range(0, len(whole), step):
            await line.send_audio(whole[start : start + step])
        await line.mark("end")
        await script.wait_for(MarkPlayed)
        await asyncio.sleep(0.1)
    (span,) = sound_spans(call.heard, call.rate, join_s=0.0)
    assert span[1] - span[0] == pytest.approx(1.0, abs=0.03)
    assert (
        tone_level(part(call.heard, call.rate, span[0] + 0.05, span[1] - 0.05), call.rate, HZ)
        > 0.97
    )


async def test_a_flush_is_silence_within_250_ms_and_forgets_its_marks(
    place_call: PlaceCall,
) -> None:
    script = Script()
    async with place_call(script) as call:
        line = await script.line()
        await line.send_audio(tone(line.audio_format, 3.0, HZ))
        await line.mark("never")
        await asyncio.sleep(0.7)
        flushed_s = call.now_s()
        await line.flush()
        await asyncio.sleep(0.5)
        await line.send_audio(tone(line.audio_format, 0.2, HZ))
        await line.mark("after")
        await script.wait_for(MarkPlayed)
        await asyncio.sleep(0.15)
    silent = silence_after_s(call.heard, call.rate, flushed_s)
    assert silent is not None and silent < 0.25
    assert script.marks == ["after"]
    assert len(sound_spans(call.heard, call.rate)) == 2


async def test_a_pause_keeps_every_sample(place_call: PlaceCall) -> None:
    script = Script()
    async with place_call(script) as call:
        line = await script.line()
        await line.send_audio(tone(line.audio_format, 1.0, HZ))
        await line.mark("end")
        await asyncio.sleep(0.4)
        paused_s = call.now_s()
        await line.pause()
        await asyncio.sleep(0.6)
        assert script.marks == []
        await line.resume()
        await script.wait_for(MarkPlayed)
        await asyncio.sleep(0.15)
    silent = silence_after_s(call.heard, call.rate, paused_s)
    assert silent is not None and silent < 0.25
    spans = sound_spans(call.heard, call.rate)
    assert len(spans) == 2
    assert loud_s(call.heard, call.rate) == pytest.approx(1.0, abs=0.019)


async def test_a_flush_ends_a_pause(place_call: PlaceCall) -> None:
    script = Script()
    async with place_call(script):
        line = await script.line()
        await line.send_audio(tone(line.audio_format, 1.0, HZ))
        await asyncio.sleep(0.2)
        await line.pause()
        await line.flush()
        await line.send_audio(tone(line.audio_format, 0.2, HZ))
        await line.mark("heard")
        await script.wait_for(MarkPlayed)
    assert script.marks == ["heard"]


async def test_who_sends_too_much_waits(place_call: PlaceCall) -> None:
    script = Script()
    async with place_call(script):
        line = await script.line()
        for _ in range(4):
            await line.send_audio(tone(line.audio_format, 1.2, HZ))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await line.send_audio(tone(line.audio_format, 1.0, HZ))
        waiting = asyncio.create_task(line.send_audio(tone(line.audio_format, 1.0, HZ)))
        await asyncio.sleep(0.05)
        await line.flush()
        async with asyncio.timeout(1):
            await waiting
        await line.mark("nothing is left")
        await script.wait_for(MarkPlayed)


async def test_keys(place_call: PlaceCall) -> None:
    script = Script()
    async with place_call(script) as call:
        await script.line()
        await call.press("4")
        await asyncio.sleep(0.15)
        await call.press("#")
        keys = await script.wait_for(Digit, 2)
    assert [key.digit for key in keys if isinstance(key, Digit)] == ["4", "#"]


async def test_the_caller_hangs_up(place_call: PlaceCall) -> None:
    script = Script()
    async with place_call(script) as call:
        line = await script.line()
        await call.hang_up()
        (event,) = await script.wait_for(HungUp)
    assert event == HungUp("Normal Clearing", by_caller=True)
    for command in (line.flush(), line.answer(), line.mark("x"), line.send_audio(b"\0\0")):
        with pytest.raises(TransportClosed):
            await command


async def test_we_hang_up(place_call: PlaceCall) -> None:
    script = Script()
    async with place_call(script) as call:
        line = await script.line()
        await line.hang_up()
        async with asyncio.timeout(3):
            await call.over.wait()
        (event,) = await script.wait_for(HungUp)
    assert isinstance(event, HungUp) and not event.by_caller
    assert not call.hung_up_by_us


async def test_a_call_that_leaves_us_tells_its_end(place_call: PlaceCall) -> None:
    script = Script()
    async with place_call(script):
        line = await script.line()
        await line.transfer("2000")
        assert await script.wait_for(HungUp) == [HungUp("transferred", by_caller=False)]
        with pytest.raises(TransportClosed):
            await line.send_audio(b"\0\0")


async def test_a_call_is_given_back_to_where_it_came_from(place_call: PlaceCall) -> None:
    script = Script()
    async with place_call(script):
        line = await script.line()
        assert line.info.goes_on
        await line.give_back()
        assert await script.wait_for(HungUp) == [HungUp("given back", by_caller=False)]


async def test_who_waits_for_room_is_told_of_the_end(place_call: PlaceCall) -> None:
    script = Script()
    async with place_call(script) as call:
        line = await script.line()
        sending = asyncio.create_task(line.send_audio(tone(line.audio_format, 20.0, HZ)))
        await asyncio.sleep(0.1)
        more = asyncio.create_task(line.send_audio(tone(line.audio_format, 20.0, HZ)))
        await asyncio.sleep(0.1)
        await call.hang_up()
        async with asyncio.timeout(3):
            ends = await asyncio.gather(sending, more, return_exceptions=True)
    assert isinstance(ends[-1], TransportClosed)
