"""A conversation without services: a tone, then whatever the caller says. For trying a line."""

import numpy as np

from examples.voice_agent.transport import AudioIn, CallTransport, HungUp
from services.shared.audio.pcm import AudioFormat

TONE_HZ = 440.0
TONE_S = 0.5


def tone(audio_format: AudioFormat, seconds: float, hertz: float = TONE_HZ) -> bytes:
    """A sine at -12 dBFS."""
    times = np.arange(round(seconds * audio_format.sample_rate)) / audio_format.sample_rate
    return audio_format.encode((0.25 * np.sin(2 * np.pi * hertz * times)).astype(np.float32))


async def converse(transport: CallTransport) -> None:
    await transport.answer()
    await transport.send_audio(tone(transport.audio_format, TONE_S))
    async for event in transport.events():
        match event:
            case AudioIn(data=data):
                await transport.send_audio(data)
            case HungUp():
                return
