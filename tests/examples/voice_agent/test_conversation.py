"""Whole calls in real time: the services as they run, with tones for words."""

import asyncio
import time

import pytest

from examples.voice_agent.ports import Outcome
from tests.examples.llm_server import Line, Script, llm_server
from tests.examples.voice_agent.live_call import GREETING, agent, calling, tone
from tests.services.serving import LiveService, eventually

LONG = "One, two, three, four, five, six, seven, eight, nine, ten."


async def test_a_call_is_greeted_answered_and_told(asr: LiveService, tts: LiveService) -> None:
    script = Script([Line("w4", "It is ten.")])
    with llm_server(script) as url:
        async with calling(agent(url), asr.ws, tts.ws) as call:
            greeted_at = await call.agent_begins()
            assert call.line.answered_at is not None
            assert greeted_at - call.line.answered_at <= 0.3
            await call.agent_said("greeting")
            call.line.say(tone(1.0))
            turn = await call.agent_said("answer")
            assert turn.spoken == turn.generated == "It is ten."
            assert call.ledger.caller_turns and set(call.ledger.caller_turns[0].split()) == {"w4"}
            times = turn.times
            assert None not in (times.speech_end_s, times.asr_final_s, times.wire_first_s)
            call.line.caller_hangs_up()
            assert await call.outcome() is Outcome.CALLER_HUNG_UP
            ended = call.ledger.ended
            assert ended is not None and ended.by_caller
            assert ended.asr_audio_s > 1.0
            recorded = b"".join(audio for _, audio in call.tracks.agent_pieces)
            words = f"{GREETING} It is ten.".split()
            spoken_ms = sum(40 * len(word) + 20 for word in words)
            assert len(recorded) == pytest.approx(8 * spoken_ms, rel=0.2)


async def test_speech_over_the_agent_silences_it(asr: LiveService, tts: LiveService) -> None:
    script = Script([Line("w4", LONG), Line("w9", "Sorry.")])
    with llm_server(script) as url:
        config = agent(url, barge={"echo_overlap": 1.0})
        async with calling(config, asr.ws, tts.ws) as call:
            await call.agent_said("greeting")
            call.line.say(tone(1.0))
            await call.agent_begins()
            await asyncio.sleep(0.5)
            said_at = time.monotonic()
            call.line.say(tone(1.4, 900))
            turn = await call.agent_said("answer")
            assert time.monotonic() - said_at < 1.5
            assert turn.interrupted_at_ms is not None and turn.interrupted_at_ms > 0
            assert LONG.startswith(turn.spoken) and turn.spoken != LONG
            second = await call.agent_said("answer", 2)
            assert second.spoken == "Sorry."
            told = script.requests[-1]["messages"]
            assert any(m["role"] == "assistant" and m["content"] == turn.spoken for m in told)


async def test_the_call_ends_after_the_last_word(asr: LiveService, tts: LiveService) -> None:
    script = Script([Line("w4", "Goodbye then.", tool="end_call")])
    with llm_server(script) as url:
        async with calling(agent(url), asr.ws, tts.ws) as call:
            await call.agent_said("greeting")
            call.line.say(tone(0.8))
            assert await call.outcome() is Outcome.AGENT_ENDED
            (turn,) = call.ledger.agent_turns()
            assert turn.spoken == "Goodbye then."


async def test_a_tool_is_used_and_its_result_spoken(asr: LiveService, tts: LiveService) -> None:
    script = Script([Line("balance of 100", "You have 150."), Line("w4", tool="lookup")])
    with llm_server(script) as url:
        async with calling(agent(url), asr.ws, tts.ws) as call:
            await call.agent_said("greeting")
            call.line.say(tone(0.8))
            turn = await call.agent_said("answer")
            assert turn.spoken == "You have 150."


@pytest.mark.slow
async def test_a_model_that_is_away_ends_in_the_fallback(
    asr: LiveService, tts: LiveService
) -> None:
    script = Script([Line("w4", status=500)])
    with llm_server(script) as url:
        config = agent(url, limits={"failures": 1}, fallback={"transfer_to": "600"})
        async with calling(config, asr.ws, tts.ws) as call:
            await call.agent_said("greeting")
            call.line.say(tone(0.8))
            assert await call.outcome() is Outcome.FALLBACK
            assert call.line.transferred_to == "600"
            assert call.ledger.agent_turns("fallback")[0].spoken


@pytest.mark.slow
async def test_who_cannot_be_understood_is_not_answered(tts: LiveService) -> None:
    """There is no ASR service: the call goes to the fallback before anybody picks up."""
    with llm_server(Script()) as url:
        config = agent(url, fallback={"transfer_to": "600"})
        async with calling(config, "ws://127.0.0.1:9", tts.ws) as call:
            assert await call.outcome() is Outcome.FALLBACK
            assert call.line.answered_at is None
            assert call.line.transferred_to == "600"


async def test_nothing_is_left_behind(asr: LiveService, tts: LiveService) -> None:
    with llm_server(Script([Line("w4", "Yes.")])) as url:
        before = asyncio.all_tasks()
        for _ in range(3):
            async with calling(agent(url), asr.ws, tts.ws) as call:
                await call.agent_begins()
        await eventually(lambda: asyncio.all_tasks() == before)
