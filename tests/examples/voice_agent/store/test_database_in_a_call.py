"""The database dies in the middle of a call: nobody hears of it, and nothing is missing after."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from examples.voice_agent.agent_calls import agent_calls
from examples.voice_agent.agents_config import AgentsConfig
from examples.voice_agent.loopback import TELEPHONE, LoopbackTransport
from examples.voice_agent.settings import load_settings
from examples.voice_agent.store.conversations import ConversationFilter
from examples.voice_agent.store.inbound_routes import RouteSettings
from examples.voice_agent.store.store import open_store
from examples.voice_agent.transport import CallInfo
from services.asr.app import create_app as create_asr
from services.tts.app import create_app as create_tts
from services.tts.config import TtsConfig
from tests.examples.llm_server import Line, Script, llm_server
from tests.examples.voice_agent.live_call import agent, tone
from tests.services.asr.conftest import tones as asr_tones
from tests.services.serving import LiveService, eventually, serving
from tests.services.tts.conftest import tones as tts_tones

if TYPE_CHECKING:
    from tests.examples.voice_agent.store.conftest import PostgresServer

pytestmark = [pytest.mark.slow, pytest.mark.postgres, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def services() -> Iterator[tuple[LiveService, LiveService]]:
    asr, tts = asr_tones(), TtsConfig(engines=tts_tones())
    with (
        serving(create_asr(asr), asr.limits) as hears,
        serving(create_tts(tts), tts.limits) as speaks,
    ):
        yield hears, speaks


@pytest.fixture
def config(
    tmp_path: Path,
    postgres_server: "PostgresServer",
    services: tuple[LiveService, LiveService],
) -> AgentsConfig:
    file = tmp_path / "voice-agent.yaml"
    file.write_text(
        f"""
asr_url: {services[0].http}
tts_url: {services[1].http}
store:
  url: {postgres_server.new_database()}
  connect_s: 2
  journal: {{spool: {tmp_path}/spool, linger_s: 0.01, retry_s: 0.2}}
"""
    )
    return AgentsConfig(settings=file, api=False)


async def test_a_call_outlives_its_database(
    config: AgentsConfig, postgres_server: "PostgresServer"
) -> None:
    script = Script([Line("w9", "Nine."), Line("w4", "Four.")])
    settings = await asyncio.to_thread(load_settings, config.settings)
    with llm_server(script) as url:
        async with open_store(settings.store, instance="setup") as store:
            await store.agents.create(agent(url))
            await store.routes.create(RouteSettings(pattern="1000", agent="test"))
        async with agent_calls(config, TELEPHONE) as converse, asyncio.TaskGroup() as tasks:
            first, second = (_line() for _ in range(2))
            tasks.create_task(first.run())
            talking = tasks.create_task(converse(first))
            await _answered(first, tone(0.8, 400))
            await asyncio.to_thread(postgres_server.stop)
            before_s = time.monotonic()
            await _answered(first, tone(0.8, 900))
            assert time.monotonic() - before_s < 8.0  # with question and answer; it does not wait
            tasks.create_task(second.run())
            newcomer = tasks.create_task(converse(second))
            async with asyncio.timeout(3):  # new calls are taken, too
                await eventually(lambda: second.answered_at is not None)
            second.caller_hangs_up()
            await newcomer
            await asyncio.to_thread(postgres_server.start)
            await _answered(first, tone(0.8, 400))
            first.caller_hangs_up()
            await talking
    async with open_store(settings.store, instance="reader") as store:
        page = await store.conversations.page(ConversationFilter())
        assert len(page.conversations) == 2
        oldest = page.conversations[-1].row.id
        told = await store.conversations.transcript(oldest)
    spoken = [turn.text_spoken for turn in told.turns if turn.role == "agent"]
    assert spoken == ["Hi.", "Four.", "Nine.", "Four."]
    assert told.conversation.row.ended_at is not None


def _line() -> LoopbackTransport:
    return LoopbackTransport(CallInfo("call", "100", "1000", goes_on=True))


async def _answered(line: LoopbackTransport, question: bytes) -> None:
    """Say it after the agent's last words, and hear the answer out."""
    await _quiet(line)
    line.say(question)
    await eventually(lambda: not line.caller_speaks)
    said = len(line.agent)
    await eventually(lambda: _loud(line, said), 15)
    await _quiet(line)


async def _quiet(line: LoopbackTransport) -> None:
    await eventually(lambda: line.answered_at is not None, 15)
    await eventually(lambda: not _loud(line, max(0, len(line.agent) - 3200)), 15)


def _loud(line: LoopbackTransport, start: int) -> bool:
    return any(byte not in (0x7F, 0xFF) for byte in line.agent[start:])
