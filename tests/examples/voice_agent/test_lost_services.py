"""Services that are lost in the middle of a call: what the caller hears, and how it goes on."""

import asyncio
from collections.abc import Iterator

import pytest

from examples.voice_agent.ports import Outcome
from services.asr.app import create_app as create_asr
from services.tts.app import create_app as create_tts
from services.tts.config import TtsConfig
from tests.examples.llm_server import Line, Script, llm_server
from tests.examples.voice_agent.live_call import agent, calling, tone
from tests.services.asr.conftest import tones as asr_tones
from tests.services.serving import LiveService, serving
from tests.services.tts.conftest import tones as tts_tones
from tests.services.unreliable import unreliable

pytestmark = pytest.mark.slow

LONG = "One, two, three, four, five, six, seven, eight, nine, ten."


@pytest.fixture(params=[0])
def mortals(request: pytest.FixtureRequest) -> Iterator[tuple[LiveService, LiveService]]:
    """Both services, to be killed; the parameter is how long each word takes to be made."""
    asr_config, tts_config = asr_tones(), TtsConfig(engines=tts_tones(delay_ms=request.param))
    with (
        serving(create_asr(asr_config), asr_config.limits) as asr,
        serving(create_tts(tts_config), tts_config.limits) as tts,
    ):
        yield asr, tts


@pytest.fixture
def other_asr() -> Iterator[LiveService]:
    config = asr_tones()
    with serving(create_asr(config), config.limits) as service:
        yield service


async def test_services_that_die_in_a_call_are_lived_through(
    mortals: tuple[LiveService, LiveService],
) -> None:
    """Both are killed in the middle; the caller hears why, and the call is handed over."""
    asr, tts = mortals
    with llm_server(Script([Line("w4", LONG)])) as url:
        config = agent(url, limits={"asr_away_s": 2.0}, fallback={"transfer_to": "600"})
        async with calling(config, asr.ws, tts.ws) as call:
            await call.agent_said("greeting")
            await asyncio.sleep(0.5)  # the sentences for bad times are being rendered
            await asyncio.gather(asyncio.to_thread(tts.stop), asyncio.to_thread(asr.stop))
            assert await call.outcome() is Outcome.FALLBACK
            assert call.ledger.agent_turns("cannot_hear")[0].spoken
            assert call.ledger.agent_turns("fallback")[0].spoken
            assert "asr_lost" in call.ledger.happenings


@pytest.mark.parametrize("mortals", [100], indirect=True)
async def test_speech_goes_on_with_the_rest_when_its_connection_is_lost(
    mortals: tuple[LiveService, LiveService],
) -> None:
    asr, tts = mortals
    with llm_server(Script([Line("w4", LONG)])) as url:
        async with (
            unreliable(tts.address) as proxy,
            calling(agent(url), asr.ws, proxy.ws) as call,
        ):
            await call.agent_said("greeting")
            call.line.say(tone(0.8))
            await call.agent_begins()
            await asyncio.sleep(0.3)
            proxy.cut()
            turn = await call.agent_said("answer")
            assert "tts_failed" in call.ledger.happenings
            assert turn.spoken == turn.generated == LONG
            recorded = b"".join(audio for _, audio in call.tracks.agent_pieces)
            spoken_ms = sum(40 * len(word) + 20 for word in f"Hi. {LONG}".split())
            assert len(recorded) == pytest.approx(8 * spoken_ms, rel=0.25)


async def test_a_short_loss_of_the_ears_is_not_noticed(
    mortals: tuple[LiveService, LiveService],
) -> None:
    asr, tts = mortals
    with llm_server(Script([Line("w4", "Yes.")])) as url:
        async with (
            unreliable(asr.address) as proxy,
            calling(agent(url), proxy.ws, tts.ws) as call,
        ):
            await call.agent_said("greeting")
            call.line.say(tone(1.2))
            await asyncio.sleep(0.5)
            proxy.cut()
            turn = await call.agent_said("answer")
            assert turn.spoken == "Yes."
            assert "asr_lost" not in call.ledger.happenings
            assert len(call.ledger.caller_turns[0].split()) in (6, 7)


async def test_a_killed_recogniser_with_another_beside_it_costs_the_caller_nothing(
    mortals: tuple[LiveService, LiveService], other_asr: LiveService
) -> None:
    """In the middle of what they say: the other instance hears all of it."""
    asr, tts = mortals
    with llm_server(Script([Line("w4", "Yes.")])) as url:
        async with (
            unreliable(asr.address) as proxy,
            calling(agent(url), proxy.ws, tts.ws) as call,
        ):
            await call.agent_said("greeting")
            call.line.say(tone(1.6))
            await asyncio.sleep(0.8)
            proxy.forward_to(other_asr.address)
            proxy.cut()
            turn = await call.agent_said("answer")
            assert turn.spoken == "Yes."
            assert "asr_replaced" in call.ledger.happenings
            assert "asr_lost" not in call.ledger.happenings
            assert len(call.ledger.caller_turns) == 1
            assert len(call.ledger.caller_turns[0].split()) in (7, 8, 9)


async def test_a_longer_loss_of_the_ears_is_told_and_the_call_goes_on(
    mortals: tuple[LiveService, LiveService],
) -> None:
    asr, tts = mortals
    with llm_server(Script([Line("w4", "Yes.")])) as url:
        async with (
            unreliable(asr.address) as proxy,
            calling(agent(url), proxy.ws, tts.ws) as call,
        ):
            await call.agent_said("greeting")
            proxy.refuse()
            await call.agent_said("cannot_hear")
            proxy.accept()
            await call.agent_said("hear_again")
            call.line.say(tone(0.8))
            turn = await call.agent_said("answer")
            assert turn.spoken == "Yes."


async def test_a_model_that_stalls_is_apologised_for(
    mortals: tuple[LiveService, LiveService],
) -> None:
    asr, tts = mortals
    script = Script([Line("w9", "Yes."), Line("w4", "One moment, I will look.", stall_after=2)])
    with llm_server(script) as url:
        llm = {"base_url": url, "model": "scripted", "between_deltas_s": 0.5}
        async with calling(agent(url, llm=llm), asr.ws, tts.ws) as call:
            await call.agent_said("greeting")
            call.line.say(tone(0.8))
            await call.agent_said("apology")
            call.line.say(tone(0.8, 900))
            turn = await call.agent_said("answer", 2)
            assert turn.spoken == "Yes."
