"""The agents of the store take calls: routed, journalled, recorded, watched through the API."""

import asyncio
import logging
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import HttpUrl

from examples.asterisk_bridge.__main__ import conversing
from examples.asterisk_bridge.ari import Ari
from examples.asterisk_bridge.ari_events import CallerId, Channel, StasisStart
from examples.asterisk_bridge.bench.asterisk_server import AsteriskServer
from examples.asterisk_bridge.bench.caller import dial
from examples.asterisk_bridge.bench.measure import tone_level
from examples.asterisk_bridge.bench.recording import RATE
from examples.asterisk_bridge.bench.scenario import ask, speech_of
from examples.asterisk_bridge.bridge import Bridge, running_bridge
from examples.asterisk_bridge.config import AriConfig, BridgeConfig, CallsConfig
from examples.asterisk_bridge.media.base import Media
from examples.asterisk_bridge.media.choice import choose_media
from examples.voice_agent.agents_config import AgentsConfig
from examples.voice_agent.config import AgentConfig
from examples.voice_agent.loopback import LoopbackTransport
from examples.voice_agent.ports import Outcome
from examples.voice_agent.settings import AgentSettings, load_settings
from examples.voice_agent.store.conversations import ConversationFilter, Transcript
from examples.voice_agent.store.inbound_routes import RouteSettings
from examples.voice_agent.store.recording import Consent
from examples.voice_agent.store.store import open_store
from examples.voice_agent.transport import CallDeclined, CallInfo, Conversation
from examples.voice_agent.yaml_settings import ConfigError
from services.asr.app import create_app as create_asr
from services.asr.config import AdmissionConfig, AsrConfig
from services.shared.audio.pcm import AudioFormat, Encoding
from services.shared.models.store import ModelStore
from services.shared.runtime.config import ServerConfig
from services.tts.app import create_app as create_tts
from services.tts.config import TtsConfig
from tests.examples.llm_server import Line, Script, llm_server
from tests.examples.voice_agent.live_call import GREETING, agent, tone
from tests.services.serving import LiveService, serving

_log = logging.getLogger(__name__)

NUMBER = "1000"
HOTEL_GREETING = "Good morning, this is the front desk."


@pytest.fixture(scope="module")
def real_asr(model_store: ModelStore) -> Iterator[LiveService]:
    config = AsrConfig(admission=AdmissionConfig(enabled=False))
    app = create_asr(config, model_store)
    with serving(app, config.limits, ServerConfig(drain_s=0.5)) as service:
        yield service


@pytest.fixture(scope="module")
def real_tts(model_store: ModelStore) -> Iterator[LiveService]:
    config = TtsConfig()
    app = create_tts(config, model_store)
    with serving(app, config.limits, ServerConfig(drain_s=0.5)) as service:
        yield service


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def written(folder: Path, asr_url: str = "", tts_url: str = "") -> Path:
    """The agents' settings, as a file of theirs."""
    path = folder / "voice-agent.yaml"
    path.write_text(
        f"""
instance: tried
asr_url: {asr_url or "http://127.0.0.1:1"}
tts_url: {tts_url or "http://127.0.0.1:1"}
store:
  url: sqlite:///{folder}/agent.db
  journal: {{spool: {folder}/spool, linger_s: 0.01}}
  recording: {{folder: {folder}/recordings}}
api: {{port: {free_port()}}}
"""
    )
    return path


async def hired(file: Path, config: AgentConfig, **route: Any) -> AgentSettings:
    """Put an agent and its route into the store, as `voice agent` does."""
    settings = load_settings(file)
    async with open_store(settings.store, instance="setup") as store:
        await store.agents.create(config)
        wanted = {"pattern": NUMBER, "agent": config.name, **route}
        await store.routes.create(RouteSettings.model_validate(wanted))
    return settings


async def only_call(settings: AgentSettings) -> Transcript:
    async with open_store(settings.store, instance="reader") as store:
        page = await store.conversations.page(ConversationFilter())
        (found,) = page.conversations
        return await store.conversations.transcript(found.row.id)


@asynccontextmanager
async def opened(file: Path, **agents: Any) -> AsyncIterator[Conversation]:
    config = BridgeConfig(agents=AgentsConfig(settings=file, **agents))
    async with conversing(config) as converse:
        yield converse


@asynccontextmanager
async def calling(
    converse: Conversation, called: str = NUMBER, **variables: str
) -> AsyncIterator[tuple[LoopbackTransport, asyncio.Task[None]]]:
    line = LoopbackTransport(CallInfo("call-1", "5550100", called, variables, goes_on=True))
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        tasks.create_task(line.run())
        talking = asyncio.ensure_future(converse(line))
        yield line, talking
        line.caller_hangs_up()
        await asyncio.wait([talking])


def said(told: Transcript, role: str) -> list[str]:
    return [turn.text_spoken for turn in told.turns if turn.role == role]


async def until(reached: Callable[[], Awaitable[bool]], limit_s: float = 15.0) -> None:
    end = time.monotonic() + limit_s
    while not await reached():
        assert time.monotonic() < end
        await asyncio.sleep(0.05)


async def test_a_call_is_in_the_store_afterwards_and_in_the_api_meanwhile(
    asr: LiveService, tts: LiveService, tmp_path: Path
) -> None:
    file = written(tmp_path, asr.http, tts.http)
    with llm_server(Script([Line("w4", "It is ten.")])) as url:
        settings = await hired(file, agent(url))
        api = f"http://127.0.0.1:{settings.api.port}"
        async with (
            opened(file, record=True) as converse,
            httpx.AsyncClient(base_url=api, trust_env=False) as http,
            calling(converse, consent="given") as (line, talking),
        ):

            async def turns(count: int) -> bool:
                page = (await http.get("/v1/conversations")).json()["conversations"]
                if not page:
                    return False
                found = (await http.get(f"/v1/conversations/{page[0]['id']}")).json()
                return len(found["turns"]) >= count

            await until(lambda: turns(1))
            line.say(tone(1.0))
            await until(lambda: turns(3))
            line.caller_hangs_up()
            await talking
            metrics = (await http.get("/metrics")).text
    assert 'voice_calls_ended_total{outcome="caller_hung_up"} 1.0' in metrics
    assert "voice_answer_seconds_count 1.0" in metrics
    told = await only_call(settings)
    row = told.conversation.row
    assert (row.instance, row.called, row.outcome) == ("tried", NUMBER, Outcome.CALLER_HUNG_UP)
    assert (row.consent, told.conversation.agent_version) == (Consent.GIVEN, 1)
    assert row.route_id is not None and row.recording is not None
    assert (tmp_path / "recordings" / row.recording).stat().st_size > 30_000
    assert said(told, "agent") == [GREETING, "It is ten."]
    assert set(" ".join(said(told, "caller")).split()) == {"w4"}


async def test_nothing_is_recorded_without_consent(
    asr: LiveService, tts: LiveService, tmp_path: Path
) -> None:
    file = written(tmp_path, asr.http, tts.http)
    with llm_server(Script()) as url:
        settings = await hired(file, agent(url))
        async with (
            opened(file, record=True, api=False) as converse,
            calling(converse) as (line, _),
        ):

            async def answered() -> bool:
                return line.answered_at is not None

            await until(answered)
    row = (await only_call(settings)).conversation.row
    assert row.consent is None and row.recording is None
    assert not (tmp_path / "recordings").exists()


async def test_nobody_is_responsible(tmp_path: Path) -> None:
    file = written(tmp_path)
    settings = await hired(file, agent("http://127.0.0.1:1"), fallback="2000")
    async with opened(file, api=False) as converse, calling(converse, "7777") as (_, talking):
        with pytest.raises(CallDeclined, match="no_route"):
            await talking
    row = (await only_call(settings)).conversation.row
    assert (row.called, row.agent, row.outcome, row.cause) == (
        *("7777", "", Outcome.DECLINED, "no_route"),
    )
    assert row.ended_at is not None


async def test_a_closed_route_names_who_takes_its_calls(tmp_path: Path) -> None:
    file = written(tmp_path)
    today = datetime.now(UTC).date()
    closed = {"closed_on": [str(today + timedelta(days)) for days in (0, 1)]}
    await hired(file, agent("http://127.0.0.1:1"), fallback="2000", schedule=closed)
    async with opened(file, api=False) as converse, calling(converse) as (line, talking):
        await talking
        assert line.transferred_to == "2000"
        assert line.answered_at is None


async def test_an_agent_that_cannot_work_sends_its_calls_to_the_fallback_of_their_route(
    tmp_path: Path,
) -> None:
    """Neither service is there."""
    file = written(tmp_path)
    await hired(file, agent("http://127.0.0.1:1"), fallback="2000")
    async with opened(file, api=False) as converse, calling(converse) as (line, talking):
        await talking
        assert line.transferred_to == "2000"


async def test_an_agent_that_cannot_work_and_names_nobody_gives_its_calls_back(
    tmp_path: Path,
) -> None:
    file = written(tmp_path)
    settings = await hired(file, agent("http://127.0.0.1:1"))
    async with opened(file, api=False) as converse, calling(converse) as (line, talking):
        await talking
        assert line.given_back and line.answered_at is None
    assert (await only_call(settings)).conversation.row.outcome == Outcome.FALLBACK


async def test_calls_of_an_agent_whose_tools_cannot_be_made_are_failures(tmp_path: Path) -> None:
    """A plug-in was removed, say: nobody may lose its calls unseen."""
    file = written(tmp_path)
    settings = await hired(file, agent("http://127.0.0.1:1", tools=["removed"]))
    api = f"http://127.0.0.1:{settings.api.port}"
    async with opened(file, api="health") as converse, httpx.AsyncClient(trust_env=False) as http:
        async with calling(converse) as (_, talking):
            with pytest.raises(ValueError, match="removed"):
                await talking
        told = (await http.get(f"{api}/metrics")).text
    assert 'voice_calls_ended_total{outcome="failed"} 1.0' in told
    row = (await only_call(settings)).conversation.row
    assert (row.agent, row.outcome, row.cause) == ("test", Outcome.FAILED, "agent")


@pytest.mark.slow
async def test_a_service_without_room_sends_calls_to_the_fallback_at_once(tmp_path: Path) -> None:
    """The others would wait for it, ringing; the store knows why they were not taken."""
    file = written(tmp_path)
    settings = await hired(file, agent("http://127.0.0.1:1"), fallback="2000")
    async with opened(file, api=False) as converse:
        await asyncio.sleep(4.0)  # until it is noticed that nobody answers
        async with calling(converse) as (line, talking):
            async with asyncio.timeout(2.0):  # not the 5 s that it would ring for
                await talking
            assert line.transferred_to == "2000" and line.answered_at is None
    row = (await only_call(settings)).conversation.row
    assert (row.agent, row.outcome) == ("test", Outcome.DECLINED)
    assert row.cause is not None and row.cause.startswith("asr: ")


async def test_calls_that_found_the_bridge_full_or_leaving_are_counted_and_in_the_store(
    tmp_path: Path,
) -> None:
    file = written(tmp_path)
    settings = await hired(file, agent("http://127.0.0.1:1"))
    metrics = f"http://127.0.0.1:{settings.api.port}/metrics"
    async with opened(file) as converse, httpx.AsyncClient(trust_env=False) as http:
        config = BridgeConfig(ari=AriConfig(url=HttpUrl("http://127.0.0.1:1")))
        full = config.model_copy(update={"calls": CallsConfig(max_calls=0, drain_s=0)})
        async with Ari(config.ari) as ari:
            bridge = Bridge(full, ari, _no_media, converse)
            bridge.registry.on_start(arriving("1.7"))
            bridge.registry.on_start(arriving("1.7"))  # as a sweep that sees it, too
            await bridge.registry.drain()
            bridge.registry.on_start(arriving("1.8"))
            await bridge.registry.stop()
        told = (await http.get(metrics)).text
    assert 'voice_calls_ended_total{outcome="declined"} 2.0' in told
    assert 'voice_calls_declined_total{reason="busy"} 1.0' in told
    assert 'voice_calls_declined_total{reason="drained"} 1.0' in told
    async with open_store(settings.store, instance="reader") as store:
        wanted = ConversationFilter(outcome=Outcome.DECLINED)
        found = [each.row for each in (await store.conversations.page(wanted)).conversations]
    assert {(row.cause, row.call_id) for row in found} == {("busy", "1.7"), ("drained", "1.8")}
    assert {(row.caller, row.called, row.agent) for row in found} == {("5550100", NUMBER, "test")}
    assert all(row.ended_at is not None for row in found)


async def test_a_call_that_asterisk_does_not_connect_is_in_the_store_as_failed(
    tmp_path: Path,
) -> None:
    file = written(tmp_path)
    settings = await hired(file, agent("http://127.0.0.1:1"))
    api = f"http://127.0.0.1:{settings.api.port}"
    async with opened(file, api="health") as converse, httpx.AsyncClient(trust_env=False) as http:
        away = {"ari": {"url": "http://127.0.0.1:1"}, "media": {"kind": "websocket"}}
        config = BridgeConfig.model_validate(away)
        async with Ari(config.ari) as ari:
            bridge = Bridge(config, ari, await choose_media(config, ari), converse)
            bridge.registry.on_start(arriving("1.9"))
            (call,) = bridge.registry.calls
            async with asyncio.timeout(10):
                while bridge.registry.calls:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
        told = (await http.get(f"{api}/metrics")).text
        assert (await http.get(f"{api}/v1/calls")).status_code == 404
    assert call.outcome == "failed"
    assert 'voice_calls_ended_total{outcome="failed"} 1.0' in told
    assert 'voice_calls_declined_total{reason="setup"}' not in told
    row = (await only_call(settings)).conversation.row
    assert (row.call_id, row.outcome, row.cause) == (call.id, Outcome.FAILED, "setup")


def arriving(channel_id: str) -> StasisStart:
    channel = Channel(id=channel_id, state="Ring", caller=CallerId(number="5550100"))
    return StasisStart(type="StasisStart", channel=channel, args=(NUMBER,))


def _no_media(deliver: object) -> Media:
    raise AssertionError("no call is taken")


async def test_wrong_settings_are_named(tmp_path: Path) -> None:
    file = tmp_path / "voice-agent.yaml"
    file.write_text("stroe: {}")
    with pytest.raises(ConfigError, match="stroe"):
        async with opened(file):
            pass


async def test_an_api_whose_port_is_taken_is_named(tmp_path: Path) -> None:
    file = written(tmp_path)
    port = load_settings(file).api.port
    with socket.create_server(("127.0.0.1", port)), pytest.raises(ConfigError, match=str(port)):
        async with opened(file):
            pass


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_the_program_serves_the_api_and_ends_when_told_while_asterisk_is_away(
    tmp_path: Path,
) -> None:
    file = written(tmp_path)
    config = tmp_path / "bridge.yaml"
    config.write_text(f"{{ari: {{url: 'http://127.0.0.1:1'}}, agents: {{settings: {file}}}}}")
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "examples.asterisk_bridge", "--config", str(config)),
        stderr=asyncio.subprocess.PIPE,
    )
    api = f"http://127.0.0.1:{load_settings(file).api.port}/v1/agents"
    async with httpx.AsyncClient(trust_env=False) as http:

        async def serves() -> bool:
            try:
                return (await http.get(api)).status_code == 200
            except httpx.TransportError:
                return False

        await until(serves, 90.0)
    program.terminate()
    async with asyncio.timeout(10):
        _, told = await program.communicate()
    assert program.returncode == 0, told.decode()
    assert b"asterisk_is_not_there" in told


def bridge_config(server: AsteriskServer, file: Path) -> BridgeConfig:
    ari = {"url": server.url, "username": "va", "password": "only-for-tests"}
    calls = {"drain_s": 0.5}
    agents = {"settings": file, "api": False}
    return BridgeConfig.model_validate({"ari": ari, "calls": calls, "agents": agents})


@asynccontextmanager
async def bridged(server: AsteriskServer, file: Path) -> AsyncIterator[None]:
    """What the program runs."""
    config = bridge_config(server, file)
    async with conversing(config) as converse, running_bridge(config, converse) as bridge:
        async with asyncio.timeout(10):
            await bridge.socket.connected.wait()
        yield


@pytest.mark.asterisk
@pytest.mark.models
@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_a_telephone_talks_with_an_agent(
    asterisk: AsteriskServer, real_asr: LiveService, real_tts: LiveService, tmp_path: Path
) -> None:
    """Phone, Asterisk, bridge, Whisper, Piper, SQLite: only the language model has a script."""
    file = written(tmp_path, real_asr.http, real_tts.http)
    async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
        wanted = {"text": "When do you open in the morning?", "format": "pcm"}
        answer = await http.post(
            f"{real_tts.http}/v1/synthesize", json={**wanted, "sample_rate": 16_000}
        )
    samples = AudioFormat(Encoding.PCM_S16LE, 16_000).decode(answer.content)
    with llm_server(Script([Line("open", "We open at nine in the morning.")])) as url:
        desk = agent(url, greeting=HOTEL_GREETING, hearing={})
        settings = await hired(file, desk)
        async with bridged(asterisk, file):
            figures = await ask(
                ("127.0.0.1", asterisk.sip_port), NUMBER, [speech_of(samples, 16_000)]
            )
    _log.info("%s", figures)
    assert figures.greeting_s is not None and figures.greeting_s < 1.0
    (answered_s,) = figures.answers_s
    assert answered_s is not None and answered_s < 3.0
    told = await only_call(settings)
    row = told.conversation.row
    assert (row.caller, row.called) == ("caller", NUMBER)
    assert row.outcome == Outcome.CALLER_HUNG_UP and row.answered_at is not None
    assert said(told, "agent") == [HOTEL_GREETING, "We open at nine in the morning."]
    assert "open" in " ".join(said(told, "caller"))


@pytest.mark.asterisk
@pytest.mark.slow
async def test_a_call_that_nobody_takes_goes_on_in_the_dial_plan(
    asterisk: AsteriskServer, tmp_path: Path
) -> None:
    file = written(tmp_path)
    await hired(file, agent("http://127.0.0.1:1"), pattern="555")
    async with bridged(asterisk, file):
        async with dial(("127.0.0.1", asterisk.sip_port), NUMBER) as call:
            await asyncio.sleep(1.5)
        heard = call.recorder.agent[RATE // 2 : RATE * 3 // 2]
    assert tone_level(heard, RATE, 1004.0) > 0.8


@pytest.mark.asterisk
@pytest.mark.slow
async def test_an_agent_that_fails_gives_its_call_back_to_the_dial_plan(
    asterisk: "AsteriskServer", tmp_path: Path
) -> None:
    """Neither service is there, and nobody is named to take over."""
    file = written(tmp_path)
    settings = await hired(file, agent("http://127.0.0.1:1"))
    async with bridged(asterisk, file), dial(("127.0.0.1", asterisk.sip_port), NUMBER) as call:
        await asyncio.sleep(1.5)
        assert not call.over.is_set()
        assert tone_level(call.recorder.agent[-RATE:], RATE, 1004.0) > 0.8
    assert (await only_call(settings)).conversation.row.outcome == Outcome.FALLBACK
