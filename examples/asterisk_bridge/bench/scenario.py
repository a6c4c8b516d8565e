"""Whole calls with an agent, measured by what the caller hears: greeting, answers, barge-in."""

import asyncio
import wave
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from examples.asterisk_bridge.bench.caller import CallFailed, PhoneCall, dial
from examples.asterisk_bridge.bench.measure import (
    answer_s,
    greeting_s,
    silence_after_s,
    sound_spans,
)
from examples.asterisk_bridge.bench.recording import RATE
from services.shared.audio.pcm import AudioFormat, Encoding, Floats
from services.shared.audio.resample import StreamResampler

_PHONE = AudioFormat(Encoding.MULAW, RATE)
_POLL_S = 0.02
_QUIET_S = 0.8
"""An agent that is silent for so long has ended its turn; between sentences it is shorter."""
_LATE_S = 0.2
"""Of what is being heard the last bit may still be under way."""


@dataclass(frozen=True, slots=True)
class Speech:
    """A recording for the phone, whose beginning and end of speech are known."""

    ulaw: bytes = field(repr=False)
    begin_s: float
    end_s: float
    name: str = ""

    @property
    def length_s(self) -> float:
        return len(self.ulaw) / RATE


@dataclass(frozen=True, slots=True)
class CallFigures:
    """Seconds, from the waveform; None where nothing was heard."""

    greeting_s: float | None
    """From the answered call to the first sound."""
    answers_s: tuple[float | None, ...] = ()
    """From the end of each speech to the first sound of its answer."""
    silence_s: float | None = None
    """From the onset of the interruption to silence."""
    slips: int = 0
    """How often the agent's audio came late: heard as gaps."""


def speech_of(samples: Floats, rate: int) -> Speech:
    """A recording [n] as speech.

    Raises:
        ValueError: there is no sound in it.
    """
    resampler = StreamResampler(rate, RATE, low_latency=False)
    phone = np.concatenate([resampler.push(samples), resampler.flush()])
    spans = sound_spans(phone, RATE)
    if not spans:
        raise ValueError("the recording is silent")
    return Speech(_PHONE.encode(phone), spans[0][0], spans[-1][1])


def load_speech(path: Path) -> Speech:
    """A WAV file of 16 bits.

    Raises:
        ValueError: another kind of file, or silent.
    """
    with wave.open(str(path), "rb") as file:
        if file.getsampwidth() != 2:
            raise ValueError(f"{path} has no 16-bit samples")
        source = AudioFormat(Encoding.PCM_S16LE, file.getframerate(), file.getnchannels())
        return speech_of(source.decode(file.readframes(file.getnframes())), source.sample_rate)


async def ask(
    server: tuple[str, int],
    number: str,
    turns: Sequence[Speech],
    *,
    patience_s: float = 10.0,
    recording: Path | None = None,
) -> CallFigures:
    """Call, hear the greeting out, then say each turn and hear its answer out.

    Args:
        patience_s: so long each answer may take to begin, and twice as long to end.
        recording: a stereo WAV is written there.

    Raises:
        CallFailed: not answered, or hung up before the end.
    """
    async with dial(server, number) as call:
        await hear_out(call, 0.0, patience_s)
        ends = []
        for turn in turns:
            begin_s = await say(call, turn)
            ends.append(begin_s + turn.end_s)
            await hear_out(call, ends[-1], patience_s)
    recorder = call.recorder
    if recording is not None:
        await asyncio.to_thread(recorder.write, recording)
    assert call.answered_s is not None
    return CallFigures(
        greeting_s(recorder.agent, RATE, call.answered_s),
        tuple(answer_s(recorder.agent, RATE, end) for end in ends),
        slips=recorder.slips,
    )


async def interrupt(
    server: tuple[str, int],
    number: str,
    interruption: Speech,
    *,
    question: Speech | None = None,
    after_s: float = 1.0,
    patience_s: float = 10.0,
    recording: Path | None = None,
) -> CallFigures:
    """Call, and speak into the agent's greeting, or into the answer to a question.

    Args:
        after_s: the agent speaks for so long before it is interrupted.

    Raises:
        CallFailed: not answered, hung up, or the agent did not speak.
    """
    async with dial(server, number) as call:
        since_s = 0.0
        if question is not None:
            await hear_out(call, 0.0, patience_s)
            since_s = await say(call, question) + question.end_s
        if await heard(call, since_s, patience_s) is None:
            raise CallFailed("the agent does not speak")
        await asyncio.sleep(after_s)
        onset_s = await say(call, interruption) + interruption.begin_s
        await asyncio.sleep(1.0)
    if recording is not None:
        await asyncio.to_thread(call.recorder.write, recording)
    assert call.answered_s is not None
    return CallFigures(
        greeting_s(call.recorder.agent, RATE, call.answered_s),
        silence_s=silence_after_s(call.recorder.agent, RATE, onset_s),
        slips=call.recorder.slips,
    )


async def say(call: PhoneCall, speech: Speech) -> float:
    """Say it; where in the recording it begins."""
    begin_s = call.next_frame_s
    call.play(speech.ulaw)
    await call.played()
    return begin_s


async def hear_out(call: PhoneCall, since_s: float, patience_s: float) -> float | None:
    """Until the agent has spoken and is silent; when it began, None if it did not speak."""
    begin_s = await heard(call, since_s, patience_s)
    deadline = call.now_s() + 2 * patience_s
    while begin_s is not None and call.now_s() < deadline:
        _check(call)
        from_s = call.now_s() - _LATE_S - _QUIET_S
        if from_s > begin_s and not sound_spans(_since(call, from_s), RATE):
            break
        await asyncio.sleep(_POLL_S)
    return begin_s


async def heard(call: PhoneCall, since_s: float, patience_s: float) -> float | None:
    """When the agent begins to speak."""
    from_s = max(0.0, since_s - _QUIET_S)
    deadline = max(call.now_s(), since_s) + patience_s
    while call.now_s() < deadline:
        _check(call)
        begin_s = answer_s(_since(call, from_s), RATE, since_s - from_s)
        if begin_s is not None:
            return since_s + begin_s
        await asyncio.sleep(_POLL_S)
    return None


def _since(call: PhoneCall, from_s: float) -> Floats:
    """Whole recordings, searched so often for so many callers, would disturb what is measured."""
    return call.recorder.agent[max(0, round(from_s * RATE)) :]


def _check(call: PhoneCall) -> None:
    if call.over.is_set():
        raise CallFailed("the agent hung up")
