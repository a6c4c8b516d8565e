"""The measuring phone measures an agent whose delays are known."""

import asyncio
import wave
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import numpy as np
import pytest

from examples.asterisk_bridge.bench.asterisk_server import AsteriskServer
from examples.asterisk_bridge.bench.recording import RATE
from examples.asterisk_bridge.bench.scenario import ask, interrupt, load_speech, speech_of
from examples.asterisk_bridge.bridge import Bridge
from examples.asterisk_bridge.echo import tone
from examples.voice_agent.transport import AudioIn, CallTransport
from services.shared.audio.pcm import AudioFormat, Encoding, Floats

RunBridge = Callable[..., AbstractAsyncContextManager[Bridge]]

ANSWER_S = 0.6
LOUD = 0.05


def recording(silence_s: float, sound_s: float) -> Floats:
    chance = np.random.default_rng(2)
    sound = chance.normal(0, 0.2, round(sound_s * 16_000))
    silence = np.zeros(round(silence_s * 16_000))
    return np.concatenate([silence, sound, silence]).astype(np.float32)


def test_a_recording_knows_when_its_speech_begins_and_ends(tmp_path: Path) -> None:
    path = tmp_path / "speech.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(AudioFormat(Encoding.PCM_S16LE, 16_000).encode(recording(0.5, 1.0)))
    speech = load_speech(path)
    assert len(speech.ulaw) == 2 * RATE
    assert speech.begin_s == pytest.approx(0.5, abs=0.02)
    assert speech.end_s == pytest.approx(1.5, abs=0.02)


def test_a_silent_recording_is_refused() -> None:
    with pytest.raises(ValueError, match="silent"):
        speech_of(np.zeros(16_000, dtype=np.float32), 16_000)


class Punctual:
    """Greets; answers so long after sound has ended; falls silent when spoken to."""

    async def __call__(self, line: CallTransport) -> None:
        await line.answer()
        await line.send_audio(tone(line.audio_format, 2.0))
        speaking_until, quiet_since = 0.0, 0.0
        heard = False
        async for event in line.events():
            if not isinstance(event, AudioIn):
                continue
            if float(np.abs(line.audio_format.decode(event.data)).max()) > LOUD:
                heard, quiet_since = True, event.at_s
                if event.at_s < speaking_until or speaking_until == 0:
                    await line.flush()
                    speaking_until = event.at_s
            elif heard and event.at_s - quiet_since >= ANSWER_S:
                heard = False
                await line.send_audio(tone(line.audio_format, 0.5))
                speaking_until = event.at_s + 0.5


@pytest.mark.asterisk
@pytest.mark.slow
@pytest.mark.parametrize("media", ["websocket", "rtp"])
async def test_known_delays_are_measured(
    asterisk: AsteriskServer, run_bridge: RunBridge, media: str, tmp_path: Path
) -> None:
    speech = speech_of(recording(0.3, 0.8), 16_000)
    server = "127.0.0.1", asterisk.sip_port
    async with run_bridge(asterisk, Punctual(), media=media) as bridge:
        async with asyncio.timeout(5):
            await bridge.socket.connected.wait()
        figures = await ask(server, "1000", [speech, speech], recording=tmp_path / "call.wav")
        broken = await interrupt(server, "1000", speech, after_s=0.7)
    assert figures.greeting_s is not None and 0 <= figures.greeting_s < 0.3
    # The agent's delay, and what the line adds in both directions.
    for answer in figures.answers_s:
        assert answer is not None and ANSWER_S - 0.03 <= answer < ANSWER_S + 0.15
    assert broken.silence_s is not None and broken.silence_s < 0.25
    with wave.open(str(tmp_path / "call.wav")) as file:
        assert file.getnchannels() == 2 and file.getnframes() > 5 * RATE
