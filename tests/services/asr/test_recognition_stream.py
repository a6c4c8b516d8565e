"""One session on an engine that listens along, with an engine that reads tones as they come."""

import asyncio
from collections.abc import Iterator

import numpy as np
import pytest

from services.asr.commands import Decode, Listen
from services.asr.engines.base import DecodeRequest, EngineError, Floats, Hypothesis
from services.asr.engines.streaming import StreamOptions
from services.asr.recognition_stream import StreamRecogniser, StreamRecognition
from services.shared.runtime.scheduler import QueueFull
from tests.services.asr.bursts import sentence, spoken
from tests.services.asr.sounds import joined, silence
from tests.services.asr.tone_streams import ToneStreams
from tests.services.serving import eventually


class Caller:
    """Stands for the session: hears, then asks, all in one turn of the event loop."""

    def __init__(self, recognition: StreamRecognition, tape: Floats) -> None:
        self.recognition = recognition
        self.tape = tape
        self.at = 0

    def hear(self, samples: int) -> None:
        self.recognition.hear(self.tape[self.at : self.at + samples])
        self.at += samples

    async def hear_all(self, until: int, chunk: int = 800) -> None:
        while self.at < until:
            self.hear(min(chunk, until - self.at))
            await asyncio.sleep(0)

    def listen(self, start: int, **wishes: object) -> None:
        request = DecodeRequest(silence(0), final=True, **wishes)  # type: ignore[arg-type]
        self.recognition.listen(Listen(start, request))

    def decode(
        self, start: int, end: int, *, final: bool, prefix: str = ""
    ) -> "asyncio.Future[Hypothesis]":
        request = DecodeRequest(self.tape[start:end].copy(), final=final, prefix=prefix)
        answer = self.recognition.decode(Decode(1, request, start))

        async def value() -> Hypothesis:
            return (await answer).value

        return asyncio.ensure_future(value())


@pytest.fixture
def engine() -> ToneStreams:
    return ToneStreams()


@pytest.fixture
def recognition(engine: ToneStreams) -> Iterator[StreamRecognition]:
    made = StreamRecogniser("tones", engine).new_recognition()
    yield made
    made.close()


SAID = sentence(20)
TAPE = joined(silence(400), spoken(SAID), silence(1000))
START = 100 * 16


async def test_a_segment_is_one_stream_from_its_start_to_its_exact_end(
    engine: ToneStreams, recognition: StreamRecognition
) -> None:
    caller = Caller(recognition, TAPE)
    await caller.hear_all(8000)
    caller.listen(START, language="en", hotwords=("IBAN",))
    await caller.hear_all(30_000)
    end = 30_500
    caller.hear(4000)  # more than the final covers
    final = await caller.decode(START, end, final=True)
    await caller.hear_all(40_000)
    [stream] = engine.streams
    np.testing.assert_array_equal(stream.heard, TAPE[START:end])
    assert stream.options == StreamOptions("en", "", ("IBAN",))
    assert stream.closed
    assert final.text.split() == SAID[: len(final.text.split())]
    assert len(final.text.split()) >= 7


async def test_audio_flows_between_the_requests(
    engine: ToneStreams, recognition: StreamRecognition
) -> None:
    caller = Caller(recognition, TAPE)
    caller.hear(8000)
    caller.listen(START)
    await caller.hear_all(20_000)
    await asyncio.sleep(0)
    assert len(engine.streams[0].heard) == 20_000 - START


async def test_the_next_segment_begins_where_the_last_one_ended(
    engine: ToneStreams, recognition: StreamRecognition
) -> None:
    """Both in one block of audio."""
    caller = Caller(recognition, TAPE)
    await caller.hear_all(16_000)
    caller.listen(START)
    caller.hear(16_000)
    first = caller.decode(START, 22_000, final=True)
    caller.listen(22_000)
    await caller.hear_all(len(TAPE))
    last = await caller.decode(22_000, len(TAPE), final=True)
    both = np.concatenate([stream.heard for stream in engine.streams])
    np.testing.assert_array_equal(both, TAPE[START:])
    assert len(engine.streams) == 2
    # The cut was inside a word, which the first stream takes for one and the second for another.
    assert len((await first).text.split() + last.text.split()) in (len(SAID), len(SAID) + 1)


async def test_partials_tell_what_is_new_and_promise_what_is_settled(
    recognition: StreamRecognition,
) -> None:
    tape = joined(spoken(SAID[:4]), silence(400), spoken(SAID[4:8]))
    caller = Caller(recognition, tape)
    caller.hear(3200)
    caller.listen(0)
    first = await caller.decode(0, 3200, final=False)
    assert (first.text, first.stable) == (SAID[0], "")
    second = caller.decode(0, 3200, final=False)
    for _ in range(5):
        await asyncio.sleep(0)
    assert not second.done(), "nothing new yet"
    await caller.hear_all(len(tape))
    told = await second
    assert told.text.split()[0] == SAID[0]
    third = await caller.decode(0, len(tape), final=False)
    assert third.text.split() == SAID[:8]
    assert third.stable == " ".join(SAID[:4])


async def test_a_partial_without_news_is_answered_all_the_same(
    recognition: StreamRecognition,
) -> None:
    caller = Caller(recognition, TAPE)
    caller.hear(3200)
    caller.listen(0)
    async with asyncio.timeout(10):
        assert (await caller.decode(0, 3200, final=False)).text == ""


async def test_what_was_promised_is_kept(recognition: StreamRecognition) -> None:
    """By an engine that thinks better of it, as another one may that goes on in its place."""
    caller = Caller(recognition, TAPE)
    await caller.hear_all(len(TAPE))
    final = await caller.decode(0, len(TAPE), final=True, prefix="one two")
    assert final.text.split() == ["one", "two", *SAID[2:]]


async def test_a_segment_that_nobody_announced_is_opened_by_its_first_request(
    engine: ToneStreams, recognition: StreamRecognition
) -> None:
    caller = Caller(recognition, TAPE)
    await caller.hear_all(20_000)
    await caller.decode(START, 12_000, final=False)
    await caller.hear_all(len(TAPE))
    final = await caller.decode(START, len(TAPE), final=True)
    assert final.text.split() == SAID
    np.testing.assert_array_equal(engine.streams[0].heard, TAPE[START:])
    assert len(engine.streams) == 1


async def test_a_long_gap_between_requests_is_made_up_for(
    engine: ToneStreams, recognition: StreamRecognition
) -> None:
    """More than the recogniser keeps: the request has it all."""
    tape = joined(spoken(sentence(100)), silence(500))
    caller = Caller(recognition, tape)
    caller.listen(0)
    await caller.hear_all(len(tape))
    late = StreamRecogniser("tones", engine).new_recognition()
    other = Caller(late, tape)
    other.hear(len(tape))
    await asyncio.sleep(0)
    assert (await other.decode(0, 16_000, final=False)).text
    other.hear(0)
    await asyncio.sleep(0)
    final = await other.decode(0, len(tape), final=True)
    assert final.text.split() == sentence(100)
    late.close()


async def test_a_withdrawn_final_is_decoded_again_when_it_is_asked_for_again(
    engine: ToneStreams, recognition: StreamRecognition
) -> None:
    caller = Caller(recognition, TAPE)
    caller.hear(8000)
    caller.listen(START)
    await caller.hear_all(20_000)
    withdrawn = recognition.decode(Decode(1, DecodeRequest(TAPE[START:20_000], final=True), START))
    await asyncio.sleep(0)
    withdrawn.cancel()
    await caller.hear_all(len(TAPE))
    assert engine.streams[0].closed
    final = await caller.decode(START, len(TAPE), final=True)
    assert final.text.split() == SAID
    assert len(engine.streams) == 2


async def test_a_lost_stream_fails_the_partial_and_the_final_opens_another(
    engine: ToneStreams, recognition: StreamRecognition
) -> None:
    caller = Caller(recognition, TAPE)
    caller.hear(8000)
    caller.listen(START)
    await caller.hear_all(16_000)
    engine.streams[0].fail()
    with pytest.raises(EngineError, match="dead"):
        await caller.decode(START, 16_000, final=False)
    with pytest.raises(QueueFull):
        caller.decode(START, 16_800, final=False)
    await caller.hear_all(len(TAPE))
    final = await caller.decode(START, len(TAPE), final=True)
    assert final.text.split() == SAID
    assert len(engine.streams) == 2


async def test_closing_leaves_nothing_behind(
    engine: ToneStreams, recognition: StreamRecognition
) -> None:
    caller = Caller(recognition, TAPE)
    caller.hear(8000)
    caller.listen(START)
    before = asyncio.all_tasks()
    recognition.decode(Decode(1, DecodeRequest(TAPE[START:8000], final=False), START))
    recognition.close()
    recognition.close()
    await eventually(lambda: asyncio.all_tasks() == before)
    assert engine.streams[0].closed


async def test_little_audio_is_kept(recognition: StreamRecognition) -> None:
    caller = Caller(recognition, silence(60_000))
    await caller.hear_all(60_000 * 16)
    assert recognition._history.end - recognition._history.start < 2 * 8 * 16_000


async def test_files_wait_for_each_other(engine: ToneStreams) -> None:
    recogniser = StreamRecogniser("tones", engine)
    request = DecodeRequest(TAPE, final=True)
    done = await asyncio.gather(*(recogniser.transcribe(request) for _ in range(9)))
    assert all(answer.value.text.split() == SAID for answer in done)
