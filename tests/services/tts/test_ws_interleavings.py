"""Whatever a client sends when, over a real socket: every byte is accounted for, in order."""

import asyncio
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.shared.protocol.base import Error, ErrorCode
from services.tts.engines.fake import SAMPLE_RATE
from services.tts.messages import (
    AudioFinished,
    AudioStarted,
    CacheUse,
    Cancel,
    Cancelled,
    ClientMessage,
    Close,
    End,
    Flush,
    Flushed,
    Pacing,
    Start,
    Text,
)
from tests.services.serving import LiveService
from tests.services.tts.client import Speaker, open_streams, session

BYTES_PER_MS = SAMPLE_RATE * 2 // 1000


@dataclass(frozen=True)
class Step:
    """One thing that a client does; `back` chooses the context, the newest first."""

    message: ClientMessage
    back: int = 0
    pause_s: float = 0.0


starts = st.builds(
    Start,
    interrupt=st.sampled_from([False, False, True]),
    pacing=st.none() | st.just(Pacing(lead_ms=100)),
    cache=st.sampled_from(CacheUse),
)
texts = st.builds(
    Text, text=st.sampled_from(["one two. ", "three", " four five six seven. ", "😀", "FAIL. "])
)
steps = st.builds(
    Step,
    st.one_of(starts, texts, texts, st.just(Flush()), st.just(End()), st.just(Cancel())),
    st.integers(0, 2),
    st.sampled_from([0.0, 0.0, 0.0, 0.003, 0.03]),
)


@pytest.mark.slow
@settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(script=st.lists(steps, max_size=25))
def test_every_byte_belongs_to_what_it_is_told_to(live: LiveService, script: list[Step]) -> None:
    speaker, started = asyncio.run(play(live.ws, script))
    check(speaker, started)


async def play(url: str, script: list[Step]) -> tuple[Speaker, list[str]]:
    started = list[str]()
    async with session(url) as speaker:
        reading = asyncio.create_task(speaker.closed())
        for step in script:
            if isinstance(step.message, Start):
                started.append(f"c{len(started)}")
                await speaker.send(step.message.model_copy(update={"context_id": started[-1]}))
            elif started:
                name = started[max(0, len(started) - 1 - step.back)]
                await speaker.send(step.message.model_copy(update={"context_id": name}))
            await asyncio.sleep(step.pause_s)
        await speaker.send(Cancel(), Close())
        assert await reading == 1000
    async with asyncio.timeout(2):
        while open_streams():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)
    return speaker, started


def check(speaker: Speaker, started: list[str]) -> None:
    sent: dict[str, int] = {}
    current: str | None = None
    ended = list[str]()
    refused = {each.context_id for each in speaker.all(Error)}
    for item in speaker.log:
        match item:
            case AudioStarted(context_id=name):
                assert current is None, "one context is heard at a time"
                current, sent[name] = name, 0
            case bytes():
                assert current is not None, "a byte that belongs to nobody"
                sent[current] += len(item)
            case Flushed(context_id=name, audio_ms=told):
                assert told * BYTES_PER_MS == sent.get(name, 0)
            case (
                AudioFinished(context_id=name, audio_ms=told)
                | Cancelled(context_id=name, sent_ms=told)
            ):
                assert told * BYTES_PER_MS == sent.get(name, 0)
                ended.append(name)
                current = None if current == name else current
            case Error(context_id=name, code=ErrorCode.ENGINE_FAILED):
                current = None if current == name else current
    assert len(set(ended)) == len(ended), "every context ends once"
    assert set(started) <= {*ended, *refused}
    assert list(sent) == sorted(sent, key=lambda name: int(name[1:])), "in the order of starts"
