"""Calls with real models: Whisper tiny.en hears, Piper speaks; the language model is scripted.

The latency is read off the recording: from the end of the caller's sound to the agent's first.
"""

import asyncio
import logging
from collections.abc import Iterator

import httpx
import numpy as np
import pytest

from examples.voice_agent.config import AgentConfig
from examples.voice_agent.loopback import TELEPHONE
from examples.voice_agent.ports import Outcome
from services.asr.app import create_app as create_asr
from services.asr.config import AdmissionConfig, AsrConfig
from services.shared.models.store import ModelStore
from services.shared.runtime.config import ServerConfig
from services.tts.app import create_app as create_tts
from services.tts.config import TtsConfig
from tests.examples.llm_server import Line, Script, llm_server
from tests.examples.voice_agent.live_call import LiveCall, calling
from tests.services.serving import LiveService, serving

pytestmark = [pytest.mark.models, pytest.mark.slow, pytest.mark.timeout(180)]

_log = logging.getLogger(__name__)

LONG = (
    "We are open from nine to five on Monday, from nine to six on Tuesday, from ten to four on "
    "Wednesday, and the whole rest of the week we are closed for the holidays."
)


@pytest.fixture(scope="module")
def asr(model_store: ModelStore) -> Iterator[LiveService]:
    config = AsrConfig(admission=AdmissionConfig(enabled=False))
    with serving(
        create_asr(config, model_store), config.limits, ServerConfig(drain_s=0.5)
    ) as service:
        yield service


@pytest.fixture(scope="module")
def tts(model_store: ModelStore) -> Iterator[LiveService]:
    config = TtsConfig()
    with serving(
        create_tts(config, model_store), config.limits, ServerConfig(drain_s=0.5)
    ) as service:
        yield service


async def spoken(tts: LiveService, text: str) -> bytes:
    """A caller's sentence, without silence around it."""
    wanted = {"text": text, "format": "mulaw", "sample_rate": 8000}
    async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
        answer = await http.post(f"{tts.http}/v1/synthesize", json=wanted)
    samples = TELEPHONE.decode(answer.content)
    loud = np.flatnonzero(np.abs(samples) > 0.02)
    return answer.content[loud[0] : loud[-1] + 1]


def agent(url: str, **sections: object) -> AgentConfig:
    fields: dict[str, object] = {
        "name": "desk",
        "prompt": "You are the front desk of an hotel.",
        "greeting": "Good morning, this is the front desk.",
        "llm": {"base_url": url, "model": "scripted"},
        **sections,
    }
    return AgentConfig.model_validate(fields)


def answer_ms(call: LiveCall, nth: int = -1) -> float:
    """From the caller's last sound to the agent's next, in the recording."""
    caller, agent_sound = call.onsets()
    ends = np.flatnonzero(np.abs(caller) > 0.02)
    pauses = np.flatnonzero(np.diff(ends) > 8000)  # turns are more than a second apart
    last = [*ends[pauses], ends[-1]][nth]
    after = np.flatnonzero(np.abs(agent_sound[last:]) > 0.02)
    return float(after[0]) / 8


def silence_ms(call: LiveCall) -> float:
    """From the onset of the caller's second turn to the agent's silence, in the recording."""
    caller, agent_sound = call.onsets()
    sound = np.flatnonzero(np.abs(caller) > 0.02)
    onset = sound[np.flatnonzero(np.diff(sound) > 8000)[0] + 1]
    spoken = np.flatnonzero(np.abs(agent_sound[onset:]) > 0.02)
    assert spoken[0] < 4000, "the agent was silent when the caller began"
    gaps = np.flatnonzero(np.diff(spoken) > 2400)  # Piper's longest pause is shorter
    return float(spoken[gaps[0]] if len(gaps) else spoken[-1]) / 8


async def test_questions_are_answered_quickly(asr: LiveService, tts: LiveService) -> None:
    questions = {
        "open": ("What time do you open tomorrow?", "We open at nine in the morning, sir."),
        "room": ("Do you have a room for two people?", "Yes, we have a double room, with a view."),
        "cost": ("How much does it cost for one night?", "It is ninety dollars, with breakfast."),
    }
    lines = [Line(word, answer) for word, (_, answer) in questions.items()]
    with llm_server(Script(lines)) as url:
        async with calling(agent(url), asr.ws, tts.ws) as call:
            await call.agent_said("greeting")
            measured: list[float] = []
            for number, (question, answer) in enumerate(questions.values(), 1):
                call.line.say(await spoken(tts, question))
                turn = await call.agent_said("answer", number)
                assert turn.spoken == answer
                measured.append(answer_ms(call))
            _log.info("answers after %s ms", measured)
            assert max(measured) < 3000


async def test_an_interruption_is_heard_and_a_nod_is_not(
    asr: LiveService, tts: LiveService
) -> None:
    lines = [Line("open", LONG), Line("cancel", "Certainly, it is cancelled.")]
    with llm_server(Script(lines)) as url:
        async with calling(agent(url), asr.ws, tts.ws) as call:
            await call.agent_said("greeting")
            call.line.say(await spoken(tts, "When are you open this week?"))
            await call.agent_begins()
            await asyncio.sleep(0.8)
            call.line.say(await spoken(tts, "Okay."))
            await call.until("the nod", lambda: "false_barge_in" in call.ledger.happenings)
            call.line.say(await spoken(tts, "Please cancel my reservation for tonight."))
            turn = await call.agent_said("answer")
            _log.info("silent %s ms after the caller's onset", silence_ms(call))
            assert silence_ms(call) < 1000
            assert turn.interrupted_at_ms is not None
            assert LONG.startswith(turn.spoken)
            second = await call.agent_said("answer", 2)
            assert second.spoken == "Certainly, it is cancelled."
            call.line.caller_hangs_up()
            assert await call.outcome() is Outcome.CALLER_HUNG_UP
