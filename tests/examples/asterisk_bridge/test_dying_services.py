"""Services die or hang in a phone call: what the caller hears, off the phone's recording.

Phone, Asterisk, bridge, ASR, TTS and language model are seven programs; only the engines are fakes,
whose speech and whose words are tones.
"""

import asyncio
import logging
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from examples.asterisk_bridge.bench.caller import PhoneCall, dial
from examples.asterisk_bridge.bench.measure import sound_spans, tone_level
from examples.asterisk_bridge.bench.recording import RATE
from examples.asterisk_bridge.echo import tone
from examples.voice_agent.settings import AgentSettings, load_settings
from examples.voice_agent.store.conversations import ConversationFilter, Transcript
from examples.voice_agent.store.inbound_routes import RouteSettings
from examples.voice_agent.store.store import open_store
from services.shared.audio.pcm import AudioFormat, Encoding
from tests.examples.asterisk_bridge.programs import Program, Programs, running_programs
from tests.examples.llm_server import Line
from tests.examples.voice_agent.live_call import agent

if TYPE_CHECKING:
    from examples.asterisk_bridge.bench.asterisk_server import AsteriskServer

pytestmark = [
    pytest.mark.asterisk,
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.xdist_group("programs"),  # which take long to start
]

_log = logging.getLogger(__name__)

PHONE = AudioFormat(Encoding.MULAW, RATE)
NUMBER, HASTY = "1000", "1001"
FALLBACK_HZ = 1004
LONG = "One two three four, five six seven eight, nine ten eleven twelve, that is all there is."
SHORT = "Yes."
QUESTION, NEXT = tone(PHONE, 1.6, 400), tone(PHONE, 0.8, 900)
"""Heard as "w4 w4 …" and "w9 w9 …"."""
LIMIT_S = 3.0
_QUIET_S = 1.2
_POLL_S = 0.02


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Programs]:
    lines = [Line("w9", SHORT), Line("w4", LONG)]
    with running_programs(tmp_path_factory.mktemp("programs"), lines) as running:
        yield running


@pytest.fixture(scope="module")
def settings(
    programs: Programs, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AgentSettings]:
    folder = tmp_path_factory.mktemp("agent")
    file = folder / "voice-agent.yaml"
    file.write_text(
        f"""
instance: tried
asr_url: {programs.asr.http}
tts_url: {programs.tts.http}
store:
  url: sqlite:///{folder}/agent.db
  journal: {{spool: {folder}/spool, linger_s: 0.01}}
"""
    )
    loaded = load_settings(file)
    hiring = threading.Thread(target=lambda: asyncio.run(_hire(loaded, programs)))
    hiring.start()
    hiring.join(30)
    yield loaded


async def _hire(settings: AgentSettings, programs: Programs) -> None:
    """Programs start slowly where much else runs: one agent waits for its ears, the other not."""
    llm = f"{programs.llm.http}/v1"
    agents = {
        NUMBER: agent(llm, name="patient", limits={"asr_away_s": 60.0}),
        HASTY: agent(llm, name="hasty", limits={"asr_away_s": 6.0}),
    }
    async with open_store(settings.store, instance="setup") as store:
        for number, config in agents.items():
            await store.agents.create(config)
            await store.routes.create(RouteSettings(pattern=number, agent=config.name))


@pytest.fixture(scope="module")
def bridge(
    asterisk: "AsteriskServer", settings: AgentSettings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Program]:
    folder = Path(settings.store.url.removeprefix("sqlite:///")).parent
    environment = {
        "BRIDGE__ARI__URL": asterisk.url,
        "BRIDGE__ARI__PASSWORD": "only-for-tests",
        "BRIDGE__AGENTS__SETTINGS": str(folder / "voice-agent.yaml"),
        "BRIDGE__AGENTS__API": "false",
    }
    output = folder / "bridge.log"
    program = Program("examples.asterisk_bridge", (), environment, output=output)
    program.start()
    try:
        yield program
    finally:
        program.stop()


class Caller:
    """Who is on the phone."""

    def __init__(self, call: PhoneCall) -> None:
        self._call = call
        self.said_s = 0.0
        """When their last words ended."""

    async def until_silent(self) -> None:
        """The agent has said something since our last words, and now nothing for a while."""
        async with asyncio.timeout(30):
            while True:
                spans = [span for span in self._spans() if span[1] > self.said_s]
                if spans and self._call.now_s() - spans[-1][1] > _QUIET_S:
                    return
                await asyncio.sleep(_POLL_S)

    async def until_agent_speaks(self) -> None:
        async with asyncio.timeout(10):
            while not [span for span in self._spans() if span[0] > self.said_s]:  # noqa: ASYNC110
                await asyncio.sleep(_POLL_S)

    def say(self, sound: bytes) -> None:
        begin_s = self._call.next_frame_s
        self._call.play(sound)
        self.said_s = begin_s + len(sound) / RATE

    async def has_said_it(self) -> None:
        await self._call.played()

    async def is_in_the_fallback(self, limit_s: float) -> None:
        async with asyncio.timeout(limit_s):
            while tone_level(self._call.recorder.agent[-RATE // 2 :], RATE, FALLBACK_HZ) < 0.9:
                assert not self._call.over.is_set()
                await asyncio.sleep(_POLL_S)

    def dead_air_s(self, since_s: float) -> float:
        """The longest silence that the caller heard before the agent's last words."""
        last, longest = since_s, 0.0
        for begin, end in self._spans():
            if end > since_s:
                longest, last = max(longest, begin - last), end
        assert last > since_s, "nothing was said since"
        return longest

    def _spans(self) -> list[tuple[float, float]]:
        return sound_spans(self._call.recorder.agent, RATE)


@asynccontextmanager
async def calling(
    asterisk: "AsteriskServer", bridge: Program, number: str = NUMBER
) -> AsyncIterator[Caller]:
    async with asyncio.timeout(60):
        while await asyncio.to_thread(_agents_ready, bridge) < 2:  # noqa: ASYNC110
            await asyncio.sleep(_POLL_S)
    async with dial(("127.0.0.1", asterisk.sip_port), number) as call:
        caller = Caller(call)
        await caller.until_silent()
        yield caller


def _agents_ready(bridge: Program) -> int:
    return bridge.output.read_bytes().count(b"agent_ready")


async def last_call(settings: AgentSettings) -> Transcript:
    async with open_store(settings.store, instance="reader") as store:
        for _ in range(100):
            page = await store.conversations.page(ConversationFilter(), limit=1)
            if page.conversations[0].row.ended_at is not None:
                break
            await asyncio.sleep(0.05)
        return await store.conversations.transcript(page.conversations[0].row.id)


def happened(told: Transcript) -> set[str]:
    return {event.what for event in told.events}


def said(told: Transcript) -> list[str]:
    return [turn.kind for turn in told.turns if turn.role == "agent"]


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGSTOP])
async def test_the_recogniser_is_lost_while_the_caller_speaks(
    asterisk: "AsteriskServer",
    bridge: Program,
    programs: Programs,
    settings: AgentSettings,
    sent: signal.Signals,
) -> None:
    async with calling(asterisk, bridge) as caller:
        caller.say(QUESTION)
        asked_s = caller.said_s
        await asyncio.sleep(0.8)
        await asyncio.to_thread(programs.asr.suffer, sent)
        await caller.has_said_it()
        await asyncio.sleep(4.0)
        await asyncio.to_thread(programs.asr.recover)
        await caller.until_silent()
        _log.info("%s of ASR: %.2f s", sent.name, caller.dead_air_s(asked_s))
        assert caller.dead_air_s(asked_s) < LIMIT_S
        caller.say(NEXT)
        await caller.until_silent()
        assert caller.dead_air_s(caller.said_s) < LIMIT_S
    told = await last_call(settings)
    assert {"asr_lost", "asr_back"} <= happened(told)
    assert "cannot_hear" in said(told)
    assert said(told)[-2:] == ["hear_again", "answer"]


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize("name", ["tts", "llm"])
async def test_an_answer_is_lost_in_the_middle_of_a_sentence(
    asterisk: "AsteriskServer",
    bridge: Program,
    programs: Programs,
    settings: AgentSettings,
    name: str,
    sent: signal.Signals,
) -> None:
    victim: Program = getattr(programs, name)
    async with calling(asterisk, bridge) as caller:
        caller.say(QUESTION)
        asked_s = caller.said_s
        await caller.has_said_it()
        await caller.until_agent_speaks()
        await asyncio.to_thread(victim.suffer, sent)
        await asyncio.sleep(5.0)
        _log.info("%s of %s: %.2f s", sent.name, name, caller.dead_air_s(asked_s))
        assert caller.dead_air_s(asked_s) < LIMIT_S
        await asyncio.to_thread(victim.recover)
        caller.say(NEXT)
        await caller.until_silent()
        assert caller.dead_air_s(caller.said_s) < LIMIT_S
    told = await last_call(settings)
    assert said(told)[-1] == "answer" and told.turns[-1].text_spoken == SHORT
    if sent is signal.SIGKILL:
        assert "answer_lost" in happened(told) and "apology" in said(told)
    else:
        assert "filler" in said(told)


async def test_a_call_whose_services_stay_away_goes_on_in_the_dial_plan(
    asterisk: "AsteriskServer", bridge: Program, programs: Programs, settings: AgentSettings
) -> None:
    async with calling(asterisk, bridge, HASTY) as caller:
        caller.say(QUESTION)
        asked_s = caller.said_s
        await asyncio.sleep(0.8)
        for program in programs.all:
            program.suffer(signal.SIGKILL)
        await caller.is_in_the_fallback(20)
        _log.info("all of them: %.2f s", caller.dead_air_s(asked_s))
        assert caller.dead_air_s(asked_s) < LIMIT_S
    for program in programs.all:
        await asyncio.to_thread(program.recover)
    told = await last_call(settings)
    assert told.conversation.row.outcome == "fallback"
    assert said(told)[-1] == "fallback"
