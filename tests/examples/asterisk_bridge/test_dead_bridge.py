"""The bridge dies or hangs in a call: how long its callers hear nothing, off their recording."""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator

import httpx
import pytest

from examples.asterisk_bridge.bench.asterisk_server import AsteriskServer
from examples.asterisk_bridge.bench.caller import PhoneCall, dial
from examples.asterisk_bridge.bench.measure import sound_spans, tone_level
from examples.asterisk_bridge.bench.recording import RATE
from examples.asterisk_bridge.echo import tone
from services.shared.audio.pcm import AudioFormat, Encoding
from tests.examples.asterisk_bridge.unit import Unit, running_unit

pytestmark = [pytest.mark.asterisk, pytest.mark.slow, pytest.mark.timeout(120)]

_log = logging.getLogger(__name__)

USER, PASSWORD = "va", "only-for-tests"
FALLBACK_HZ = 1004
_SOON_S = 2.0
SPOKEN_HZ = 600
PHONE = AudioFormat(Encoding.MULAW, RATE)


@pytest.fixture
async def unit(asterisk: AsteriskServer) -> AsyncIterator[Unit]:
    """The program, which echoes: no service can fail."""
    settings = {
        "BRIDGE__ARI__URL": asterisk.url,
        "BRIDGE__ARI__PASSWORD": PASSWORD,
        "BRIDGE__CONVERSATION__FACTORY": "examples.asterisk_bridge.echo:converse",
    }
    async with running_unit(settings) as started:
        await started.said_so(b"ari_connected")
        yield started


def dead_air_s(call: PhoneCall) -> float:
    """From the last sound of the echo to the first of the fallback."""
    heard = call.recorder.agent
    spans = sound_spans(heard, RATE, join_s=0.1)
    silences = [later[0] - earlier[1] for earlier, later in zip(spans, spans[1:], strict=False)]
    return max(silences, default=0.0)


async def in_the_fallback(call: PhoneCall) -> None:
    async with asyncio.timeout(_SOON_S):
        while tone_level(call.recorder.agent[-RATE // 4 :], RATE, FALLBACK_HZ) < 0.9:
            assert not call.over.is_set()
            await asyncio.sleep(0.02)


async def nothing_left(asterisk: AsteriskServer) -> None:
    async with httpx.AsyncClient(
        base_url=asterisk.url, auth=(USER, PASSWORD), trust_env=False
    ) as http:
        for _ in range(50):
            left = [(await http.get(f"/ari/{what}")).json() for what in ("channels", "bridges")]
            if left == [[], []]:
                return
            await asyncio.sleep(0.05)
    raise AssertionError(left)


@pytest.mark.parametrize("sent, limit_s", [(signal.SIGKILL, 3.0), (signal.SIGSTOP, 8.0)])
async def test_callers_of_a_dead_bridge_go_on_in_the_dial_plan(
    asterisk: AsteriskServer, unit: Unit, sent: signal.Signals, limit_s: float
) -> None:
    """SIGKILL: it dies. SIGSTOP: it hangs, until the watchdog kills it."""
    server = ("127.0.0.1", asterisk.sip_port)
    async with dial(server, "1000") as call, dial(server, "1000") as other:
        for each in (call, other):
            each.play(tone(PHONE, 15.0, SPOKEN_HZ))
        await asyncio.sleep(1.5)
        os.kill(unit.pid, sent)
        await unit.said_so(b"ari_connected", 2)
        for each in (call, other):
            await in_the_fallback(each)
        silences = [dead_air_s(each) for each in (call, other)]
        _log.info("after %s nothing was heard for %s s", sent.name, silences)
        assert max(silences) < limit_s
        assert unit.rescues == [0]
    async with dial(server, "1000") as call:  # the bridge is back
        call.play(tone(PHONE, 1.0, SPOKEN_HZ))
        await asyncio.sleep(1.0)
        heard = call.recorder.agent[-RATE // 4 :]
        assert tone_level(heard, RATE, SPOKEN_HZ) > 0.9
    await nothing_left(asterisk)


async def test_a_machine_that_stands_still_for_moments_costs_no_call(
    asterisk: AsteriskServer, unit: Unit
) -> None:
    """As one does that is moved, or short of memory: what it stops goes on, and was no hang."""
    async with dial(("127.0.0.1", asterisk.sip_port), "1000") as call:
        call.play(tone(PHONE, 10.0, SPOKEN_HZ))
        await asyncio.sleep(1.5)
        os.kill(unit.pid, signal.SIGSTOP)
        await asyncio.sleep(3.0)
        os.kill(unit.pid, signal.SIGCONT)
        await asyncio.sleep(2.0)
        heard = call.recorder.agent[-RATE // 4 :]
        assert tone_level(heard, RATE, SPOKEN_HZ) > 0.9
        assert (unit.starts, unit.rescues) == (1, [])


async def test_a_call_while_the_bridge_is_away_goes_on_at_once(
    asterisk: AsteriskServer, unit: Unit
) -> None:
    os.kill(unit.pid, signal.SIGKILL)
    await asyncio.sleep(0.2)
    async with dial(("127.0.0.1", asterisk.sip_port), "1000") as call:
        await in_the_fallback(call)
