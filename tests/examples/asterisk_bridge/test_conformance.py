"""What every media must do for a conversation, on a real Asterisk, heard by a real phone."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import numpy as np
import pytest

from examples.asterisk_bridge.bench.asterisk_server import AsteriskServer
from examples.asterisk_bridge.bench.caller import PhoneCall, dial
from examples.asterisk_bridge.bench.measure import (
    first_sound,
    silence_after_s,
    sound_spans,
    tone_level,
)
from examples.asterisk_bridge.bench.recording import RATE
from examples.asterisk_bridge.bridge import Bridge
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
from services.shared.audio.pcm import AudioFormat, Encoding, Floats

pytestmark = [pytest.mark.asterisk, pytest.mark.slow]

RunBridge = Callable[..., AbstractAsyncContextManager[Bridge]]
PHONE = AudioFormat(Encoding.MULAW, RATE)
HZ = 613.0
"""Hardly a sample of it is zero."""


@pytest.fixture(params=["websocket-ulaw", "websocket-slin16", "rtp-ulaw", "rtp-alaw"])
def media(request: pytest.FixtureRequest) -> dict[str, str]:
    kind, media_format = str(request.param).split("-")
    return {"media": kind, "media_format": media_format}


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


async def ready(bridge: Bridge) -> None:
    async with asyncio.timeout(5):
        await bridge.socket.connected.wait()
        await asyncio.sleep(0.05)


def phone(asterisk: AsteriskServer) -> AbstractAsyncContextManager[PhoneCall]:
    return dial(("127.0.0.1", asterisk.sip_port), "1000")


def part(samples: Floats, begin_s: float, end_s: float) -> Floats:
    return samples[round(begin_s * RATE) : round(end_s * RATE)]


def loud_s(samples: Floats) -> float:
    """How long the tone was heard: all its samples but those near zero. A frame is 20 ms."""
    return np.count_nonzero(np.abs(samples) > 0.001) / RATE


async def test_sound_travels_both_ways(
    asterisk: AsteriskServer, run_bridge: RunBridge, media: dict[str, str]
) -> None:
    script = Script()
    async with run_bridge(asterisk, script, **media) as bridge:
        await ready(bridge)
        async with phone(asterisk) as call:
            line = await script.line()
            assert line.info.called == "1000" and line.info.caller == "caller"
            await line.send_audio(tone(line.audio_format, 1.0, HZ))
            call.play(tone(PHONE, 1.0, 1000))
            await asyncio.sleep(1.5)
        heard = line.audio_format.decode(bytes(script.audio))
        (span,) = sound_spans(call.recorder.agent, RATE)
        assert loud_s(call.recorder.agent) == pytest.approx(1.0, abs=0.019)
        assert tone_level(part(call.recorder.agent, span[0] + 0.1, span[1] - 0.1), RATE, HZ) > 0.95
        rate = line.audio_format.sample_rate
        (span,) = sound_spans(heard, rate)
        assert span[1] - span[0] == pytest.approx(1.0, abs=0.05)
        inner = heard[round((span[0] + 0.1) * rate) : round((span[1] - 0.1) * rate)]
        assert tone_level(inner, rate, 1000) > 0.95


async def test_the_greeting_is_heard_right_after_the_answer(
    asterisk: AsteriskServer, run_bridge: RunBridge, media: dict[str, str]
) -> None:
    async def greet(line: CallTransport) -> None:
        await line.answer()
        await line.send_audio(tone(line.audio_format, 0.4, HZ))
        async for _ in line.events():
            pass

    async with run_bridge(asterisk, greet, **media) as bridge:
        await ready(bridge)
        async with phone(asterisk) as call:
            await asyncio.sleep(0.7)
        begin = first_sound(call.recorder.agent, RATE)
        assert begin is not None and call.answered_s is not None
        assert begin - call.answered_s < 0.3


async def test_marks_come_when_their_audio_has_been_played(
    asterisk: AsteriskServer, run_bridge: RunBridge, media: dict[str, str]
) -> None:
    script = Script()
    async with run_bridge(asterisk, script, **media) as bridge:
        await ready(bridge)
        async with phone(asterisk):
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


async def test_portions_of_any_size_are_one_sound(
    asterisk: AsteriskServer, run_bridge: RunBridge, media: dict[str, str]
) -> None:
    script = Script()
    async with run_bridge(asterisk, script, **media) as bridge:
        await ready(bridge)
        async with phone(asterisk) as call:
            line = await script.line()
            whole = tone(line.audio_format, 1.0, HZ)
            step = line.audio_format.frame_bytes * 77
            for start in range(0, len(whole), step):
                await line.send_audio(whole[start : start + step])
            await line.mark("end")
            await script.wait_for(MarkPlayed)
            await asyncio.sleep(0.1)
        (span,) = sound_spans(call.recorder.agent, RATE, join_s=0.0)
        assert span[1] - span[0] == pytest.approx(1.0, abs=0.03)
        assert (
            tone_level(part(call.recorder.agent, span[0] + 0.05, span[1] - 0.05), RATE, HZ) > 0.97
        )


async def test_a_flush_is_silence_within_250_ms_and_forgets_its_marks(
    asterisk: AsteriskServer, run_bridge: RunBridge, media: dict[str, str]
) -> None:
    script = Script()
    async with run_bridge(asterisk, script, **media) as bridge:
        await ready(bridge)
        async with phone(asterisk) as call:
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
        silent = silence_after_s(call.recorder.agent, RATE, flushed_s)
        assert silent is not None and silent < 0.25
        assert script.marks == ["after"]
        assert len(sound_spans(call.recorder.agent, RATE)) == 2


async def test_a_pause_keeps_every_sample(
    asterisk: AsteriskServer, run_bridge: RunBridge, media: dict[str, str]
) -> None:
    script = Script()
    async with run_bridge(asterisk, script, **media) as bridge:
        await ready(bridge)
        async with phone(asterisk) as call:
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
        silent = silence_after_s(call.recorder.agent, RATE, paused_s)
        assert silent is not None and silent < 0.25
        spans = sound_spans(call.recorder.agent, RATE)
        assert len(spans) == 2
        assert loud_s(call.recorder.agent) == pytest.approx(1.0, abs=0.019)


async def test_a_flush_ends_a_pause(
    asterisk: AsteriskServer, run_bridge: RunBridge, media: dict[str, str]
) -> None:
    script = Script()
    async with run_bridge(asterisk, script, **media) as bridge:
        await ready(bridge)
        async with phone(asterisk):
            line = await script.line()
            await line.send_audio(tone(line.audio_format, 1.0, HZ))
            await asyncio.sleep(0.2)
            await line.pause()
            await line.flush()
            await line.send_audio(tone(line.audio_format, 0.2, HZ))
            await line.mark("heard")
            await script.wait_for(MarkPlayed)
        assert script.marks == ["heard"]


async def test_who_sends_too_much_waits(
    asterisk: AsteriskServer, run_bridge: RunBridge, media: dict[str, str]
) -> None:
    script = Script()
    async with run_bridge(asterisk, script, **media) as bridge:
        await ready(bridge)
        async with phone(asterisk):
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


async def test_keys(asterisk: AsteriskServer, run_bridge: RunBridge, media: dict[str, str]) -> None:
    script = Script()
    async with run_bridge(asterisk, script, **media) as bridge:
        await ready(bridge)
        async with phone(asterisk) as call:
            await script.line()
            await call.press("4")
            await asyncio.sleep(0.15)
            await call.press("#")
            keys = await script.wait_for(Digit, 2)
        assert [key.digit for key in keys if isinstance(key, Digit)] == ["4", "#"]


async def test_the_caller_hangs_up(
    asterisk: AsteriskServer, run_bridge: RunBridge, media: dict[str, str]
) -> None:
    script = Script()
    async with run_bridge(asterisk, script, **media) as bridge:
        await ready(bridge)
        async with phone(asterisk) as call:
            line = await script.line()
            await call.hang_up()
            (event,) = await script.wait_for(HungUp)
        assert event == HungUp("Normal Clearing", by_caller=True)
        for command in (line.flush(), line.answer(), line.mark("x"), line.send_audio(b"\0\0")):
            with pytest.raises(TransportClosed):
                await command


async def test_we_hang_up(
    asterisk: AsteriskServer, run_bridge: RunBridge, media: dict[str, str]
) -> None:
    script = Script()
    async with run_bridge(asterisk, script, **media) as bridge:
        await ready(bridge)
        async with phone(asterisk) as call:
            line = await script.line()
            await line.hang_up()
            async with asyncio.timeout(3):
                await call.over.wait()
            (event,) = await script.wait_for(HungUp)
        assert isinstance(event, HungUp) and not event.by_caller
        assert not call.hung_up_by_us


async def test_a_conversation_that_returns_hangs_up(
    asterisk: AsteriskServer, run_bridge: RunBridge, media: dict[str, str]
) -> None:
    async def brief(line: CallTransport) -> None:
        await line.answer()

    async with run_bridge(asterisk, brief, **media) as bridge:
        await ready(bridge)
        async with phone(asterisk) as call, asyncio.timeout(3):
            await call.over.wait()
        assert not call.hung_up_by_us


async def test_a_transfer_goes_to_another_extension(
    asterisk: AsteriskServer, run_bridge: RunBridge, media: dict[str, str]
) -> None:
    script = Script()
    async with run_bridge(asterisk, script, **media) as bridge:
        await ready(bridge)
        async with phone(asterisk) as call:
            line = await script.line()
            with pytest.raises(ValueError, match="no extension 9999"):
                await line.transfer("9999")
            await line.transfer("2000")
            (event,) = await script.wait_for(HungUp)
            await asyncio.sleep(0.6)
            assert not call.over.is_set()
        assert event == HungUp("transferred", by_caller=False)
        assert tone_level(call.recorder.agent[-RATE // 4 :], RATE, 1004) > 0.9
