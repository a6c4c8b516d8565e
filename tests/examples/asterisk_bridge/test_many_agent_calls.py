"""Many calls of an agent, one after the other: no task, file or socket of a call outlives it.

Asterisk, bridge, conversation, store, language model's client; the services hear and speak tones.
`voice bench call --short --calls 500` does the same with real models, and looks into every process.
"""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.asterisk_bridge.__main__ import conversing
from examples.asterisk_bridge.bench.asterisk_server import PASSWORD, USER, AsteriskServer
from examples.asterisk_bridge.bench.caller import dial
from examples.asterisk_bridge.bench.scenario import hear_out, heard
from examples.asterisk_bridge.bridge import Bridge, running_bridge
from examples.asterisk_bridge.config import BridgeConfig
from examples.voice_agent.settings import load_settings
from examples.voice_agent.store.conversations import ConversationFilter
from examples.voice_agent.store.inbound_routes import RouteSettings
from examples.voice_agent.store.store import open_store
from services.asr.app import create_app as create_asr
from services.tts.app import create_app as create_tts
from services.tts.config import TtsConfig
from tests.examples.llm_server import Line, Script, llm_server
from tests.examples.voice_agent.live_call import agent, tone
from tests.services.asr.conftest import tones as asr_tones
from tests.services.serving import LiveService, serving
from tests.services.tts.conftest import tones as tts_tones

pytestmark = [pytest.mark.asterisk, pytest.mark.slow, pytest.mark.timeout(240)]

NUMBER = "1000"
WARM, CALLS = 5, 40
MORE_FILES = 8
"""Connections to ARI and to the language model are kept for a while."""
LONG = "It is ten, and I could go on about the time for a while, as it is so interesting a topic."


@pytest.fixture
def services() -> Iterator[tuple[LiveService, LiveService]]:
    """ASR and TTS."""
    hearing, speaking = asr_tones(), TtsConfig(engines=tts_tones())
    apps = create_asr(hearing), create_tts(speaking)
    with serving(apps[0], hearing.limits) as asr, serving(apps[1], speaking.limits) as tts:
        yield asr, tts


async def call(server: AsteriskServer, place: int) -> None:
    """Some give up early; every other one asks, and hangs up while the model still writes."""
    gives_up, asks = place % 5 == 4, place % 2 == 0
    try:
        async with asyncio.timeout(0.03 if gives_up else 30):
            async with dial(("127.0.0.1", server.sip_port), NUMBER) as phone:
                assert await heard(phone, 0.0, 10.0) is not None
                if asks:
                    await hear_out(phone, 0.0, 10.0)
                    phone.play(tone(0.8))
                    end_s = await phone.played()
                    assert await heard(phone, end_s, 10.0) is not None
    except TimeoutError:
        assert gives_up


async def settled(bridge: Bridge, tasks: int) -> None:
    """Calls are given back, and what they had running ends."""
    for _ in range(200):
        if not bridge.registry.calls and len(asyncio.all_tasks()) <= tasks:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"more than {tasks}: {[str(task) for task in asyncio.all_tasks()]}")


async def test_calls_of_an_agent_leave_nothing(
    asterisk: AsteriskServer, services: tuple[LiveService, LiveService], tmp_path: Path
) -> None:
    asr, tts = services
    file = tmp_path / "voice-agent.yaml"
    config = BridgeConfig.model_validate(
        {
            "ari": {"url": asterisk.url, "username": USER, "password": PASSWORD},
            "calls": {"drain_s": 0.5},
            "agents": {"settings": file, "api": False},
        }
    )
    with llm_server(Script([Line("w4", LONG)])) as url:
        file.write_text(
            f"{{asr_url: '{asr.http}', tts_url: '{tts.http}', store: {{"
            f"url: 'sqlite:///{tmp_path}/agent.db', journal: {{spool: '{tmp_path}/spool'}}}}}}"
        )
        settings = await asyncio.to_thread(load_settings, file)
        async with open_store(settings.store, instance="setup") as store:
            await store.agents.create(agent(url))
            route = {"pattern": NUMBER, "agent": "test"}
            await store.routes.create(RouteSettings.model_validate(route))
        async with conversing(config) as converse, running_bridge(config, converse) as bridge:
            async with asyncio.timeout(10):
                await bridge.socket.connected.wait()
            for place in range(WARM):
                await call(asterisk, place)
            await settled(bridge, 1000)
            await asyncio.sleep(1)
            tasks, files = len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd"))
            for place in range(CALLS):
                await call(asterisk, place)
            await settled(bridge, tasks)
            assert bridge.socket.subscribed == 0
            assert len(os.listdir("/proc/self/fd")) <= files + MORE_FILES
        assert asr.tasks() <= 10 and tts.tasks() <= 10
        async with open_store(settings.store, instance="reader") as store:
            page = await store.conversations.page(ConversationFilter(), limit=100)
        assert len(page.conversations) >= (WARM + CALLS) * 3 // 5
        assert all(each.row.ended_at is not None for each in page.conversations)
