"""What is still to be sent, and what may be sent again."""

import asyncio
import time

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from services.asr.engines.google_tape import Tape, pcm16
from tests.services.asr.sounds import silence


def test_loud_samples_are_clipped_not_wrapped() -> None:
    samples = np.array([-2.0, -1.0, 0.0, 1.0, 2.0], dtype=np.float32)
    assert np.frombuffer(pcm16(samples), "<i2").tolist() == [-32767, -32767, 0, 32767, 32767]


@given(
    st.lists(
        st.tuples(st.sampled_from(["push", "send", "forget", "rewind"]), st.integers(0, 500)),
        max_size=60,
    )
)
def test_it_sends_what_was_pushed(steps: list[tuple[str, int]]) -> None:
    """Every sample is its own number, so that it is known which were sent."""
    tape, forgotten = Tape(), 0
    for what, count in steps:
        if what == "push":
            numbers = np.arange(tape.end, tape.end + count) % 30_000
            tape.push((numbers / 32_767).astype(np.float32))
        elif what == "send":
            count = min(count, tape.end - tape.sent)
            sent = np.frombuffer(tape.next(count), "<i2").tolist()
            assert sent == [number % 30_000 for number in range(tape.sent, tape.sent + count)]
            tape.advance(count)
        else:
            forgotten = max(forgotten, min(tape.sent, forgotten + count))
            getattr(tape, what)(forgotten)
        assert forgotten <= tape.sent <= tape.end


async def test_waiting_for_audio() -> None:
    tape = Tape()
    waiting = asyncio.create_task(tape.more_than(0, 1600))
    tape.push(silence(50))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    tape.push(silence(50))
    assert await waiting
    waiting = asyncio.create_task(tape.more_than(1600))
    await asyncio.sleep(0)
    tape.finish()
    assert not await waiting
    assert await tape.more_than(1599)


async def test_waiting_for_room_ends_when_nothing_moves() -> None:
    tape = Tape()
    tape.push(silence(1000))
    began = time.monotonic()
    await tape.room(1600, 0.05)
    assert 0.04 < time.monotonic() - began < 10
    waiting = asyncio.create_task(tape.room(1600, 5))
    await asyncio.sleep(0)
    tape.advance(14_400)
    await asyncio.wait_for(waiting, 4)
