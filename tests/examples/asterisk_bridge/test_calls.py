"""Calls that end badly, or many of them: nothing hangs, nobody is forgotten, nothing stays."""

import asyncio
import contextlib
import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import httpx
import pytest
from websockets.asyncio.client import connect

from examples.asterisk_bridge.bench.asterisk_server import AsteriskServer
from examples.asterisk_bridge.bench.caller import dial
from examples.asterisk_bridge.bench.measure import first_sound, tone_level
from examples.asterisk_bridge.bench.recording import RATE
from examples.asterisk_bridge.bridge import Bridge
from examples.asterisk_bridge.config import AriConfig
from examples.asterisk_bridge.echo import tone
from examples.voice_agent.transport import CallTransport, HungUp
from services.shared.audio.pcm import Floats

pytestmark = [pytest.mark.asterisk, pytest.mark.slow, pytest.mark.timeout(300)]

RunBridge = Callable[..., AbstractAsyncContextManager[Bridge]]
USER, PASSWORD = "va", "only-for-tests"
FALLBACK_HZ = 1004
KINDS = pytest.mark.parametrize("media", ["websocket", "rtp"])


class Listener:
    """Answers, says a tone, and keeps how each call ended."""

    def __init__(self) -> None:
        self.ended: asyncio.Queue[HungUp] = asyncio.Queue()

    async def __call__(self, line: CallTransport) -> None:
        await line.answer()
        await line.send_audio(tone(line.audio_format, 0.2))
        async for event in line.events():
            if isinstance(event, HungUp):
                self.ended.put_nowait(event)


async def ready(bridge: Bridge) -> None:
    async with asyncio.timeout(10):
        await bridge.socket.connected.wait()
        await asyncio.sleep(0.05)


async def settled(bridge: Bridge) -> None:
    """All calls of the bridge are over and given back."""
    async with asyncio.timeout(10):
        while bridge.registry.calls or bridge.registry.tasks:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def left_in_asterisk(asterisk: AsteriskServer) -> tuple[int, int]:
    """Channels and bridges."""
    async with httpx.AsyncClient(
        base_url=asterisk.url, auth=(USER, PASSWORD), trust_env=False
    ) as http:
        channels = (await http.get("/ari/channels")).json()
        bridges = (await http.get("/ari/bridges")).json()
    return len(channels), len(bridges)


async def nothing_left(asterisk: AsteriskServer) -> None:
    """Asterisk takes a moment to bury its dead."""
    for _ in range(50):
        left = await left_in_asterisk(asterisk)
        if left == (0, 0):
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"{left} channels and bridges are left")


async def few_tasks(most: int) -> None:
    """A connection that was just closed may still have a task that waits for its last word."""
    for _ in range(50):
        if len(asyncio.all_tasks()) <= most:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"more than {most}: {[str(task) for task in asyncio.all_tasks()]}")


def is_fallback(heard: Floats) -> bool:
    return tone_level(heard[-RATE // 4 :], RATE, FALLBACK_HZ) > 0.9


def server(asterisk: AsteriskServer) -> tuple[str, int]:
    return "127.0.0.1", asterisk.sip_port


@KINDS
async def test_short_calls_leave_nothing(
    asterisk: AsteriskServer, run_bridge: RunBridge, media: str
) -> None:
    async with run_bridge(asterisk, Listener(), media=media) as bridge:
        await ready(bridge)
        await _call_and_hang_up(asterisk, 3)
        await settled(bridge)
        await nothing_left(asterisk)
        files, tasks = len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())
        await _call_and_hang_up(asterisk, 500)
        await settled(bridge)
        await nothing_left(asterisk)
        assert bridge.socket.subscribed == 0
        await few_tasks(tasks)
        # Connections to ARI are kept for a while, so many at most; a leak would be of hundreds.
        kept = AriConfig.model_fields["max_connections"].default
        assert len(os.listdir("/proc/self/fd")) <= files + kept


async def _call_and_hang_up(asterisk: AsteriskServer, count: int) -> None:
    """One after the other; some are given up before they are answered."""
    for number in range(count):
        with contextlib.suppress(TimeoutError):
            async with (
                asyncio.timeout(0.01 if number % 5 == 4 else 10),
                dial(server(asterisk), "1000", longest_s=1),
            ):
                await asyncio.sleep(0.02)


async def test_a_conversation_that_fails_goes_to_the_fallback(
    asterisk: AsteriskServer, run_bridge: RunBridge
) -> None:
    async def clumsy(line: CallTransport) -> None:
        await line.answer()
        raise RuntimeError("a defect")

    async with run_bridge(asterisk, clumsy) as bridge:
        await ready(bridge)
        async with dial(server(asterisk), "1000") as call:
            await asyncio.sleep(0.8)
            assert not call.over.is_set()
        assert is_fallback(call.recorder.agent)
        await settled(bridge)
    await nothing_left(asterisk)


async def test_a_call_that_takes_too_long_is_ended(
    asterisk: AsteriskServer, run_bridge: RunBridge
) -> None:
    listener = Listener()
    async with run_bridge(asterisk, listener, max_call_s=0.5) as bridge:
        await ready(bridge)
        async with dial(server(asterisk), "1000") as call, asyncio.timeout(3):
            assert (await listener.ended.get()).cause == "the call took too long"
            await call.over.wait()
        await settled(bridge)
    await nothing_left(asterisk)


@KINDS
async def test_a_call_that_goes_on_is_left_alone_by_the_sweeper(
    asterisk: AsteriskServer, run_bridge: RunBridge, media: str
) -> None:
    listener = Listener()
    async with run_bridge(asterisk, listener, media=media) as bridge:
        await ready(bridge)
        async with dial(server(asterisk), "1000") as call:
            await asyncio.sleep(0.2)
            await bridge.registry.reconcile()
            await asyncio.sleep(0.3)
            assert len(bridge.registry.calls) == 1
            assert not call.over.is_set() and listener.ended.empty()
        await settled(bridge)


async def test_one_call_too_many_goes_to_the_fallback(
    asterisk: AsteriskServer, run_bridge: RunBridge
) -> None:
    async with run_bridge(asterisk, Listener(), max_calls=1) as bridge:
        await ready(bridge)
        async with dial(server(asterisk), "1000"), dial(server(asterisk), "1000") as second:
            await asyncio.sleep(0.6)
            assert len(bridge.registry.calls) == 1
        assert is_fallback(second.recorder.agent)
        await settled(bridge)


async def test_a_bridge_that_is_late_takes_no_more_calls(
    asterisk: AsteriskServer, run_bridge: RunBridge
) -> None:
    async with run_bridge(asterisk, Listener()) as bridge:
        await ready(bridge)
        async with dial(server(asterisk), "1000"):
            bridge.vitals.lag.seen(1.0)
            async with dial(server(asterisk), "1000") as second:
                await asyncio.sleep(0.6)
                assert len(bridge.registry.calls) == 1
            assert is_fallback(second.recorder.agent)
            await asyncio.sleep(4.5)  # it fades
            async with dial(server(asterisk), "1000"):
                assert len(bridge.registry.calls) == 2
        await settled(bridge)


async def test_draining_gives_what_is_left_to_the_fallback(
    asterisk: AsteriskServer, run_bridge: RunBridge
) -> None:
    listener = Listener()
    async with contextlib.AsyncExitStack() as phones:
        async with run_bridge(asterisk, listener, drain_s=0.2) as bridge:
            await ready(bridge)
            call = await phones.enter_async_context(dial(server(asterisk), "1000"))
            await asyncio.sleep(0.3)
        assert (await listener.ended.get()).cause == "the service ends"
        await asyncio.sleep(0.5)
        assert not call.over.is_set()
        assert is_fallback(call.recorder.agent)


@pytest.mark.parametrize("media, lost_cause", [("websocket", "media lost"), ("rtp", "lost")])
async def test_asterisk_dies_in_a_call_and_comes_back(
    own_asterisk: AsteriskServer, run_bridge: RunBridge, media: str, lost_cause: str
) -> None:
    listener = Listener()
    async with run_bridge(own_asterisk, listener, media=media) as bridge:
        await ready(bridge)
        assert is_told_of(bridge) == (1.0, [])
        async with dial(server(own_asterisk), "1000"):
            await asyncio.sleep(0.2)
            restarting = asyncio.create_task(asyncio.to_thread(own_asterisk.restart))
            async with asyncio.timeout(10):
                while is_told_of(bridge) != (0.0, ["Asterisk is away"]):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            await restarting
            async with asyncio.timeout(10):
                assert (await listener.ended.get()).cause == lost_cause
            await settled(bridge)
        async with asyncio.timeout(10):
            while bridge.socket.connections < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        await ready(bridge)
        async with dial(server(own_asterisk), "1000") as call:
            await asyncio.sleep(0.4)
        begin = first_sound(call.recorder.agent, RATE)
        assert begin is not None
        heard = call.recorder.agent[round(begin * RATE) : round((begin + 0.15) * RATE)]
        assert tone_level(heard, RATE, 440) > 0.9
        await settled(bridge)
    await nothing_left(own_asterisk)


def is_told_of(bridge: Bridge) -> tuple[float | None, list[str]]:
    """Of its connection: in the metrics, and for who asks whether it is ready."""
    told = bridge.vitals.registry.get_sample_value("voice_asterisk_connected")
    return told, bridge.vitals.troubles()


async def test_a_caller_who_rings_while_the_bridge_starts_is_taken(
    asterisk: AsteriskServer, run_bridge: RunBridge
) -> None:
    """Asterisk tells nobody twice that somebody came: the bridge must look."""
    async with contextlib.AsyncExitStack() as phones:
        query = f"app=va&api_key={USER}:{PASSWORD}"
        async with connect(f"{asterisk.url.replace('http', 'ws')}/ari/events?{query}") as socket:
            ringing = asyncio.create_task(
                phones.enter_async_context(dial(server(asterisk), "1000"))
            )
            async with asyncio.timeout(5):
                assert "StasisStart" in str(await socket.recv())
        async with run_bridge(asterisk, Listener()) as bridge:
            async with asyncio.timeout(5):
                call = await ringing
            await asyncio.sleep(0.5)
            assert len(bridge.registry.calls) == 1
            assert first_sound(call.recorder.agent, RATE) is not None
            await call.hang_up()
            await settled(bridge)
    await nothing_left(asterisk)


async def test_strays_of_another_life_are_removed(
    asterisk: AsteriskServer, run_bridge: RunBridge
) -> None:
    async with run_bridge(asterisk, Listener()) as bridge:
        await ready(bridge)
        async with httpx.AsyncClient(
            base_url=asterisk.url, auth=(USER, PASSWORD), trust_env=False
        ) as http:
            await http.post("/ari/bridges", params={"type": "mixing", "bridgeId": "va-b-old"})
            await http.post("/ari/bridges", params={"type": "mixing", "bridgeId": "other-b-1"})
            stray = {
                "channelId": "va-m-old",
                "app": "va",
                "external_host": "127.0.0.1:9",
                "format": "ulaw",
            }
            await http.post("/ari/channels/externalMedia", params=stray)
            await bridge.registry.reconcile()
            await settled(bridge)
            bridges = [each["id"] for each in (await http.get("/ari/bridges")).json()]
            assert bridges == ["other-b-1"]
            assert (await http.get("/ari/channels")).json() == []
            await http.delete("/ari/bridges/other-b-1")
