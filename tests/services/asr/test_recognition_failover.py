"""Engines that stand in for each other: a streaming one, then one that takes requests."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

import pytest
import structlog
from prometheus_client import CollectorRegistry

from services.asr.commands import Decode, Listen
from services.asr.engines.base import DecodeRequest, EngineError, Hypothesis
from services.asr.engines.failover import Breaker
from services.asr.recognition import BatchRecogniser, Recogniser
from services.asr.recognition_failover import FailoverRecogniser, FailoverRecognition
from services.asr.recognition_stream import StreamRecogniser
from services.shared.runtime.metrics import ModelMetrics
from services.shared.runtime.scheduler import QueueFull, Scheduler, SchedulerClosed
from tests.services.asr.bursts import BurstEngine, sentence, spoken
from tests.services.asr.sounds import joined, silence
from tests.services.asr.tone_streams import ToneStreams
from tests.services.serving import eventually

SAID = sentence(12)
TAPE = joined(silence(200), spoken(SAID), silence(500))
HALF = 24_000


class Moody(BurstEngine):
    """Fails or dawdles on demand."""

    def __init__(self) -> None:
        super().__init__()
        self.broken = False
        self.slow_s = 0.0

    def transcribe(self, requests: Sequence[DecodeRequest]) -> list[Hypothesis | Exception]:
        time.sleep(self.slow_s)
        if self.broken:
            raise RuntimeError("the model is gone")
        return super().transcribe(requests)


class Setup:
    """Two engines behind one recogniser."""

    def __init__(self, *, limit_s: float = 10.0, streaming_first: bool = True) -> None:
        self.registry = CollectorRegistry()
        self.tones, self.batch = ToneStreams(), Moody()
        scheduler: Scheduler[DecodeRequest, Hypothesis] = Scheduler(
            "asr", self.batch.transcribe, metrics=ModelMetrics(self.registry)
        )
        ladder: list[Recogniser] = [
            StreamRecogniser("tones", self.tones),
            BatchRecogniser("batch", self.batch, scheduler),
        ]
        if not streaming_first:
            ladder.reverse()
        self.recogniser = FailoverRecogniser(
            ladder, limit_s, self.registry, lambda: Breaker(first_s=0.3, longest_s=5)
        )

    async def start(self) -> None:
        self.recogniser.load()
        await self.recogniser.start()

    def metric(self, name: str, engine: str) -> float:
        return self.registry.get_sample_value(name, {"engine": engine}) or 0.0


@pytest.fixture
async def setup() -> AsyncIterator[Setup]:
    made = Setup()
    await made.start()
    yield made
    await made.recogniser.close()


def ask(
    session: FailoverRecognition, start: int, end: int, *, final: bool, prefix: str = ""
) -> "asyncio.Task[Hypothesis]":
    request = DecodeRequest(TAPE[start:end], final=final, prefix=prefix, word_timestamps=True)
    answer = session.decode(Decode(1, request, start))

    async def value() -> Hypothesis:
        return (await answer).value

    return asyncio.create_task(value())


def listen(session: FailoverRecognition, start: int) -> None:
    session.listen(Listen(start, DecodeRequest(silence(0), final=True)))


def texts(hypothesis: Hypothesis) -> list[str]:
    return hypothesis.text.split()


async def test_the_first_engine_answers_and_is_named(setup: Setup) -> None:
    session = setup.recogniser.new_recognition()
    session.hear(TAPE)
    listen(session, 0)
    final = await ask(session, 0, len(TAPE), final=True)
    assert (texts(final), final.engine) == (SAID, "tones")
    assert setup.metric("voice_asr_engine_finals_total", "tones") == 1
    session.close()


async def test_capabilities_are_those_of_all(setup: Setup) -> None:
    can = setup.recogniser.capabilities
    assert (can.model, can.languages, can.max_seconds) == ("tones", ("en",), 30.0)
    assert can.streaming


async def test_engines_without_a_common_language_are_refused() -> None:
    odd = Setup()
    odd.batch.capabilities = BurstEngine().capabilities
    odd.tones.capabilities = type(odd.tones.capabilities)(
        "tones", ("vi",), max_seconds=60, word_timestamps=True, max_batch=1
    )
    with pytest.raises(EngineError, match="share no language"):
        odd.recogniser.load()


async def test_a_stream_that_is_lost_mid_turn_costs_no_word(setup: Setup) -> None:
    """The partial is answered by the next engine, which keeps what was promised."""
    session = setup.recogniser.new_recognition()
    session.hear(TAPE[:HALF])
    listen(session, 0)
    before = await ask(session, 0, HALF, final=False)
    assert before.engine == "tones"
    promised = " ".join(texts(before)[:3])
    setup.tones.streams[0].fail()
    session.hear(TAPE[HALF:])
    with structlog.testing.capture_logs() as logs:
        partial = await ask(session, 0, HALF + 1600, final=False, prefix=promised)
        assert partial.engine == "batch"
        assert partial.text.startswith(promised)
        final = await ask(session, 0, len(TAPE), final=True, prefix=promised)
    assert (texts(final), final.engine) == (SAID, "batch")
    assert [entry["event"] for entry in logs] == ["engine failed"]
    assert logs[0]["reason"] == "the line is dead"
    assert setup.metric("voice_asr_engine_failures_total", "tones") == 1
    assert setup.metric("voice_asr_engine_open", "tones") == 1
    session.close()


async def test_a_stream_that_is_lost_at_the_final_costs_no_word(setup: Setup) -> None:
    session = setup.recogniser.new_recognition()
    session.hear(TAPE)
    listen(session, 0)
    answer = ask(session, 0, len(TAPE), final=True, prefix=SAID[0])
    setup.tones.streams[0].fail()
    final = await answer
    assert (texts(final), final.engine) == (SAID, "batch")
    session.close()


async def test_other_sessions_begin_with_the_next_engine_until_the_first_is_back(
    setup: Setup,
) -> None:
    first, second = (setup.recogniser.new_recognition() for _ in range(2))
    for session in (first, second):
        session.hear(TAPE)
        listen(session, 0)
    setup.tones.streams[0].fail()
    assert (await ask(first, 0, HALF, final=True)).engine == "batch"
    assert (await ask(second, 0, HALF, final=True)).engine == "tones", "its stream is well"
    setup.recogniser._ladder[0].breaker.failed(time.monotonic())
    listen(first, HALF)
    assert (await ask(first, HALF, HALF + 8000, final=True)).engine == "batch"
    await asyncio.sleep(0.35)
    listen(first, HALF + 8000)
    with structlog.testing.capture_logs() as logs:
        assert (await ask(first, HALF + 8000, len(TAPE), final=True)).engine == "tones"
    assert [entry["event"] for entry in logs] == ["engine is back"]
    assert setup.metric("voice_asr_engine_open", "tones") == 0
    first.close()
    second.close()


async def test_an_engine_that_does_not_answer_is_given_up() -> None:
    setup = Setup(limit_s=0.5)
    await setup.start()
    session = setup.recogniser.new_recognition()
    session.hear(TAPE)
    listen(session, 0)

    async def for_ever() -> Hypothesis:
        await asyncio.Event().wait()
        raise AssertionError

    setup.tones.streams[0].finish = for_ever  # type: ignore[method-assign]
    began = time.monotonic()
    final = await ask(session, 0, len(TAPE), final=True)
    assert (texts(final), final.engine) == (SAID, "batch")
    assert time.monotonic() - began > 0.4
    assert setup.tones.streams[0].closed
    session.close()
    await setup.recogniser.close()


async def test_when_all_fail_the_last_one_tells(setup: Setup) -> None:
    session = setup.recogniser.new_recognition()
    session.hear(TAPE)
    listen(session, 0)
    setup.batch.broken = True
    setup.tones.streams[0].fail()
    with pytest.raises(RuntimeError, match="model is gone"):
        await ask(session, 0, len(TAPE), final=True)
    setup.batch.broken = False
    listen(session, len(TAPE) - 8000)
    assert (await ask(session, 0, len(TAPE), final=True)).engine == "batch"
    session.close()


async def test_a_batch_engine_may_come_first() -> None:
    setup = Setup(streaming_first=False)
    await setup.start()
    session = setup.recogniser.new_recognition()
    session.hear(TAPE[:HALF])
    listen(session, 0)
    assert setup.tones.streams == [], "nobody pays for a stream that is not needed"
    assert (await ask(session, 0, HALF, final=False)).engine == "batch"
    setup.batch.broken = True
    assert (await ask(session, 0, HALF, final=False)).engine == "tones"
    session.hear(TAPE[HALF:])
    final = await ask(session, 0, len(TAPE), final=True)
    assert (texts(final), final.engine) == (SAID, "tones")
    session.close()
    await setup.recogniser.close()


async def test_a_withdrawn_request_is_withdrawn_from_its_engine(setup: Setup) -> None:
    session = setup.recogniser.new_recognition()
    session.hear(TAPE)
    listen(session, 0)
    answer = session.decode(Decode(1, DecodeRequest(TAPE, final=True), 0))
    await asyncio.sleep(0)
    answer.cancel()
    await eventually(lambda: setup.tones.streams[0].closed)
    assert setup.metric("voice_asr_engine_failures_total", "tones") == 0
    session.close()


async def test_closing_leaves_nothing_behind(setup: Setup) -> None:
    before = asyncio.all_tasks()
    session = setup.recogniser.new_recognition()
    session.hear(TAPE)
    listen(session, 0)
    session.decode(Decode(1, DecodeRequest(TAPE, final=True), 0))
    session.decode(Decode(2, DecodeRequest(TAPE, final=False), 0))
    session.close()
    await eventually(lambda: asyncio.all_tasks() == before)
    assert all(stream.closed for stream in setup.tones.streams)


async def test_a_service_that_shuts_down_is_no_failure(setup: Setup) -> None:
    session = setup.recogniser.new_recognition()
    session.hear(TAPE)
    listen(session, 0)
    setup.tones.streams[0].fail()
    await setup.recogniser.close()
    with pytest.raises(SchedulerClosed):
        await ask(session, 0, len(TAPE), final=True)
    session.close()


async def test_pieces_of_files_fail_over_too(setup: Setup) -> None:
    request = DecodeRequest(TAPE, final=True)
    assert texts((await setup.recogniser.transcribe(request)).value) == SAID

    async def fail(request: DecodeRequest) -> Hypothesis:
        raise EngineError("no quota")

    setup.tones.transcribe = fail  # type: ignore[method-assign]
    assert texts((await setup.recogniser.transcribe(request)).value) == SAID
    assert setup.metric("voice_asr_engine_failures_total", "tones") == 1
    setup.batch.broken = True
    with pytest.raises(RuntimeError):
        await setup.recogniser.transcribe(request)


async def test_a_full_queue_is_no_failure() -> None:
    """Only partials are refused: the next one may fit."""
    setup = Setup(streaming_first=False)
    await setup.start()
    session = setup.recogniser.new_recognition()

    def full(_: Decode) -> "asyncio.Future[object]":
        raise QueueFull("full")

    session._sessions[0].decode = full  # type: ignore[method-assign, assignment]
    with pytest.raises(QueueFull):
        ask(session, 0, HALF, final=False)
    assert setup.metric("voice_asr_engine_failures_total", "batch") == 0
    session.close()
    await setup.recogniser.close()
