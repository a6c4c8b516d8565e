"""The three legs of the demo: listen to a recording, speak a text, listen to a file."""

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.live import Live
from rich.text import Text

from services.asr.messages import Final, Partial, ServerMessage, Start, Stopped
from services.asr.transcript import Transcript
from services.cli.failures import CommandFailed
from services.client.asr import AsrStream, open_asr, transcribe_file
from services.client.tts import open_tts
from services.shared.audio.pcm import AudioFormat, Encoding, Floats
from services.shared.media.decode import decode_audio
from services.shared.media.wav import wav_bytes
from services.shared.protocol.base import Error
from services.tts import messages as tts

_RATE = 16_000
_CHUNK = _RATE // 50
_SILENCE_S = 1.0
"""Said after the recording, as a caller who waits for the answer does."""
_FORMAT = AudioFormat(Encoding.PCM_S16LE, _RATE)
_LEG_S = 120.0


@dataclass(frozen=True, slots=True)
class Heard:
    text: str
    first_partial_ms: float
    """From the first voiced sample being sent."""
    final_ms: float
    """From the last voiced sample, as the service tells it, being sent to the last final."""
    real_time_factor: float
    """Decoding time of the finals over the audio's duration."""


@dataclass(frozen=True, slots=True)
class Spoken:
    wav: bytes = field(repr=False)
    audio_s: float
    first_audio_ms: float
    real_time_factor: float


async def listen(url: str, recording: Path, console: Console) -> Heard:
    """Stream a recording as if somebody spoke it now; show the partials."""
    samples = await asyncio.to_thread(decode_audio, recording, max_duration_s=600)
    silence = np.zeros(int(_SILENCE_S * _RATE), dtype=np.float32)
    said = np.concatenate([samples, silence])
    screen = _Screen(console)
    async with asyncio.timeout(_LEG_S), open_asr(url, Start()) as stream:
        began = time.monotonic()
        sending = asyncio.create_task(_say(stream, said, began))
        with screen.live:
            async for at, message in stream.events():
                screen.take(at, message)
        console.print()
        await sending
    return screen.heard(began, samples)


async def _say(stream: AsrStream, samples: Floats, began: float) -> None:
    """Send 20 ms chunks, each when its last sample would have been spoken."""
    for start in range(0, len(samples), _CHUNK):
        chunk = samples[start : start + _CHUNK]
        due = began + (start + len(chunk)) / _RATE
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        await stream.send_audio(_FORMAT.encode(chunk))
    await stream.stop()


class _Screen:
    """What is heard so far, on the terminal and for the figures."""

    def __init__(self, console: Console) -> None:
        self.live = Live(console=console, refresh_per_second=12)
        self._finals: list[tuple[float, Final]] = []
        self._first_partial: float | None = None
        self._stopped: Stopped | None = None

    def take(self, at: float, message: ServerMessage) -> None:
        match message:
            case Partial():
                self._first_partial = self._first_partial or at
                self._show(message.stable_text, message.text[len(message.stable_text) :])
            case Final():
                self._finals.append((at, message))
                self._show("", "")
            case Stopped():
                self._stopped = message
            case Error():
                raise CommandFailed(f"recognition: {message.message}")
            case _:
                pass

    def _show(self, stable: str, unstable: str) -> None:
        said = " ".join(final.text for _, final in self._finals)
        text = Text(said + (" " if said else ""), style="green")
        text.append(stable, style="bold")
        text.append(unstable, style="dim")
        self.live.update(text)

    def heard(self, began: float, samples: Floats) -> Heard:
        spoken = [(at, final) for at, final in self._finals if final.text]
        if not spoken or self._stopped is None or self._first_partial is None:
            raise CommandFailed("the recognition ended without partials, finals and a farewell")
        at, final = spoken[-1]
        decoding = sum(final.timings.decode_ms for _, final in self._finals)
        return Heard(
            text=" ".join(final.text for _, final in spoken),
            first_partial_ms=(self._first_partial - began) * 1000 - _first_sound_ms(samples),
            final_ms=(at - began) * 1000 - final.end_ms,
            real_time_factor=decoding / (len(samples) * 1000 / _RATE),
        )


def _first_sound_ms(samples: Floats) -> float:
    """When speech begins: the first 10 ms within 35 dB of the loudest."""
    block = _RATE // 100
    whole = samples[: len(samples) // block * block].reshape(-1, block)
    level = np.sqrt(np.mean(np.square(whole), axis=1))
    return float(np.argmax(level > level.max() * 10 ** (-35 / 20))) * 10


async def speak(url: str, text: str) -> Spoken:
    """Have a text spoken, word by word as a language model would give it."""
    audio, rate, first = bytearray(), 0, None
    async with asyncio.timeout(_LEG_S), open_tts(url) as stream:
        await stream.start(tts.Start(encoding=Encoding.PCM_S16LE))
        began = time.monotonic()
        for word in text.split(" "):
            await stream.send_text(f"{word} ")
        await stream.end()
        await stream.close()
        async for at, event in stream.events():
            if isinstance(event, bytes):
                first = first or at
                audio += event
            elif isinstance(event, tts.AudioStarted):
                rate = event.sample_rate
            elif isinstance(event, Error):
                raise CommandFailed(f"synthesis: {event.message}")
        took = time.monotonic() - began
    if first is None:
        raise CommandFailed("the synthesis gave no audio")
    samples = AudioFormat(Encoding.PCM_S16LE, rate).decode(bytes(audio))
    seconds = len(samples) / rate
    return Spoken(wav_bytes(samples, rate), seconds, (first - began) * 1000, took / seconds)


async def heard_again(url: str, path: Path) -> Transcript:
    """Transcribe a file over HTTP."""
    async with asyncio.timeout(_LEG_S):
        return await transcribe_file(url, path)
