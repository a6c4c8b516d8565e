"""A whole call as a caller lives it: greeting, questions and answers, one interruption."""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

from examples.asterisk_bridge.bench.caller import CallFailed, PhoneCall, dial
from examples.asterisk_bridge.bench.measure import (
    answer_s,
    greeting_s,
    holes,
    last_sound_s,
    sound_spans,
)
from examples.asterisk_bridge.bench.recording import RATE
from examples.asterisk_bridge.bench.scenario import Speech, hear_out, heard, say

_INTERRUPT_AFTER_S = 1.0
_AFTERWARDS_S = 1.5


@dataclass(frozen=True, slots=True)
class Answered:
    """One question and what came of it. Moments are `time.time()`."""

    question: str
    asked_unix_s: float
    """When the caller began to say it."""
    speech_end_unix_s: float
    """The end of the caller's sound."""
    answer_s: float | None
    """From there to the first sound; None: there was none."""
    onsets_s: tuple[float, ...] = ()
    """From there to each beginning of sound until the next question: a filler may come first."""


@dataclass(frozen=True, slots=True)
class CallHeard:
    """What the recording of one call tells."""

    caller: str
    failure: str | None
    """Why it was no call."""
    greeting_s: float | None = None
    """From the answered call to the first sound."""
    answers: tuple[Answered, ...] = ()
    onset_unix_s: float | None = None
    """Of the interruption; None: there was none."""
    silence_s: float | None = None
    """From the onset to the agent's last sound while the caller speaks."""
    holes: int = 0
    """Places where the agent's speech breaks off."""
    slips: int = 0
    """How often its packets came late."""
    phone_late_s: float = 0.0
    """By how much the phone itself was late, at worst: then its recording is not to be trusted."""


@dataclass(frozen=True, slots=True)
class Script:
    """What a caller says."""

    questions: tuple[Speech, ...]
    interruption: Speech | None
    """Said into the last answer."""


@dataclass(frozen=True, slots=True)
class CallMade:
    """A call that is over. Moments are seconds of the call."""

    caller: str
    script: Script
    call: PhoneCall | None = None
    asked: tuple[tuple[float, float], ...] = ()
    """Beginning and end of each question's sound."""
    interruption: tuple[float, float] | None = None
    failure: str | None = None


async def talk(
    server: tuple[str, int],
    number: str,
    script: Script,
    *,
    caller: str,
    patience_s: float = 10.0,
    recording: Path | None = None,
) -> CallMade:
    """Place the call, and hang up at the end. What fails is in the result."""
    asked: list[tuple[float, float]] = []
    barge: tuple[float, float] | None = None
    try:
        async with dial(server, number, caller=caller) as call:
            await hear_out(call, 0.0, patience_s)
            for question in script.questions[:-1]:
                asked.append(await _ask(call, question))
                await hear_out(call, asked[-1][1], patience_s)
            asked.append(await _ask(call, script.questions[-1]))
            barge = await _end(call, asked[-1][1], script.interruption, patience_s)
    except CallFailed as error:
        return CallMade(caller, script, failure=str(error))
    if recording is not None:
        await asyncio.to_thread(call.recorder.write, recording)
    return CallMade(caller, script, call, tuple(asked), barge)


async def _ask(call: PhoneCall, question: Speech) -> tuple[float, float]:
    """Beginning and end of its sound."""
    begin_s = await say(call, question)
    return begin_s + question.begin_s, begin_s + question.end_s


async def _end(
    call: PhoneCall, since_s: float, interruption: Speech | None, patience_s: float
) -> tuple[float, float] | None:
    """Hear the last answer out, or interrupt it; then beginning and end of that."""
    if interruption is None:
        await hear_out(call, since_s, patience_s)
        return None
    if await heard(call, since_s, patience_s) is None:
        return None
    await asyncio.sleep(_INTERRUPT_AFTER_S)
    barge = await _ask(call, interruption)
    await asyncio.sleep(_AFTERWARDS_S)
    return barge


def measured(made: CallMade) -> CallHeard:
    """Read the recording. Takes too long for an event loop on which others are still speaking."""
    call = made.call
    if call is None or call.answered_s is None:
        return CallHeard(made.caller, made.failure or "not answered")
    agent = call.recorder.agent
    began_unix_s = time.time() - time.monotonic() + call.began_s
    nexts = [begin for begin, _ in made.asked[1:]] + [len(agent) / RATE]
    answers = tuple(
        Answered(
            question.name,
            began_unix_s + begin,
            began_unix_s + end,
            answer_s(agent, RATE, end),
            tuple(at - end for at, _ in sound_spans(agent, RATE) if end <= at < following),
        )
        for question, (begin, end), following in zip(
            made.script.questions, made.asked, nexts, strict=True
        )
    )
    barge = made.interruption
    return CallHeard(
        caller=made.caller,
        failure=None,
        greeting_s=greeting_s(agent, RATE, call.answered_s),
        answers=answers,
        onset_unix_s=None if barge is None else began_unix_s + barge[0],
        silence_s=None if barge is None else last_sound_s(agent, RATE, *barge),
        holes=len(holes(agent, RATE)),
        slips=call.recorder.slips,
        phone_late_s=call.late_s,
    )
