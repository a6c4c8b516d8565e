"""The agent's ears when the ASR instance that they use is restarted: nobody notices."""

import asyncio

import pytest

from examples.voice_agent.config import AgentConfig
from examples.voice_agent.ears import Ears
from examples.voice_agent.events import Event, FinalHeard, HearingLost, HearingReplaced
from services.shared.audio.pcm import AudioFormat, Encoding
from tests.services.asr.sounds import joined, pcm, silence, tone
from tests.services.client.test_handover import two_instances
from tests.services.serving import eventually


def turns(heard: list[Event]) -> int:
    return sum(isinstance(event, FinalHeard) and event.turn_end for event in heard)


@pytest.mark.slow
@pytest.mark.timeout(60)
async def test_an_instance_that_shuts_down_in_the_middle_of_a_call_is_not_noticed() -> None:
    heard: list[Event] = []
    config = AgentConfig(name="moving", prompt="Listen.")
    sounds = [joined(tone(hertz, 900), silence(900)) for hertz in (400, 600, 800)]
    sound = pcm(joined(*sounds))
    async with two_instances() as instances:
        line = AudioFormat(Encoding.PCM_S16LE, 16_000, 1)
        ears = Ears(instances.ws, None, config, line, heard.append)
        listening = asyncio.create_task(ears.run())
        for number, at in enumerate(range(0, len(sound), 640)):
            ears.hear(sound[at : at + 640])
            await asyncio.sleep(0.02)
            if number == 110:  # in the second turn
                instances.terminate_the_first()
        await eventually(lambda: turns(heard) == 3, 10)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
    words = [
        word for event in heard if isinstance(event, FinalHeard) for word in event.text.split()
    ]
    assert list(dict.fromkeys(words)) == ["w4", "w6", "w8"]
    assert not any(isinstance(event, HearingLost | HearingReplaced) for event in heard)
