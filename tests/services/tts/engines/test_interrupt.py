"""Ending what runs in an engine's thread from another one."""

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry

from services.shared.models.store import ModelStore
from services.tts.config import JOE
from services.tts.engines.base import SynthesisRequest
from services.tts.engines.interrupt import Interrupt, interrupted_by, interruptible
from services.tts.engines.piper import PiperEngine, PiperSource
from services.tts.engines.registry import find_model
from services.tts.metrics import TtsMetrics
from services.tts.speakers import Speaker, SpeechStream
from tests.services.serving import eventually

LONG = (
    "I have checked your account and the payment that you made on Tuesday has arrived so there is "
    "nothing that you need to do now but please call us again if anything is unclear to you."
)


def test_what_runs_is_ended_and_what_begins_later_at_once() -> None:
    interrupt, ended = Interrupt(), list[str]()
    with interrupted_by(interrupt), interruptible(lambda: ended.append("running")):
        interrupt.raise_()
        assert ended == ["running"]
    with interrupted_by(interrupt), interruptible(lambda: ended.append("later")):
        assert ended == ["running", "later"]
    interrupt.raise_()
    assert ended == ["running", "later"], "what is over is left alone"


def test_nothing_happens_outside_of_anybodys_work() -> None:
    with interruptible(lambda: pytest.fail("ended")):
        Interrupt().raise_()


def test_each_thread_works_for_its_own_stream() -> None:
    mine, other, ended = Interrupt(), Interrupt(), list[str]()
    inside, leave = threading.Event(), threading.Event()

    def work() -> None:
        with interrupted_by(other), interruptible(lambda: ended.append("other")):
            inside.set()
            leave.wait(5)

    thread = threading.Thread(target=work)
    thread.start()
    inside.wait(5)
    with interrupted_by(mine), interruptible(lambda: ended.append("mine")):
        other.raise_()
    leave.set()
    thread.join()
    assert ended == ["other"]


@pytest.fixture(scope="module")
def engine(model_store: ModelStore) -> Iterator[PiperEngine]:
    model = find_model(JOE.model, ".onnx", model_store)
    made = PiperEngine([PiperSource("joe", "Joe", model, "en-US", "CC0-1.0")], lanes=2)
    made.load()
    made.warm_up()
    yield made
    made.close()


@pytest.mark.models
@pytest.mark.real_time
def test_a_run_of_the_model_is_ended_within_it(engine: PiperEngine) -> None:
    begun = time.monotonic()
    assert SpeechStream(engine, SynthesisRequest(LONG, "joe")).step() is not None
    whole_s = time.monotonic() - begun
    stream = SpeechStream(engine, SynthesisRequest(LONG, "joe"))
    results = list[object]()
    thread = threading.Thread(target=lambda: results.append(stream.step()))
    thread.start()
    time.sleep(whole_s / 4)
    begun = time.monotonic()
    stream.cancel()
    thread.join()
    assert time.monotonic() - begun < whole_s / 2
    assert results == [None]
    assert stream.step() is None
    assert list(engine.synthesize(SynthesisRequest("Yes.", "joe"))), "the model is as good as ever"


@pytest.mark.models
@pytest.mark.real_time
async def test_the_engine_is_free_within_60_ms_of_a_cancel(engine: PiperEngine) -> None:
    metrics = TtsMetrics(CollectorRegistry())
    speaker = Speaker(engine, metrics, timeout_s=10.0)
    speaker.start()
    count = 20
    for number in range(count):
        stream = speaker.open(SynthesisRequest(LONG, "joe"))
        making = speaker.scheduler.submit(stream)
        while speaker.scheduler.busy_for() < 0.002 + number / 500:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.001)
        making.cancel()
        speaker.abandon(stream)
        await eventually(lambda: speaker.scheduler.busy_for() == 0 == speaker.scheduler.pending)
    name = "voice_tts_cancel_seconds_bucket"
    await eventually(lambda: metrics.registry.get_sample_value(name, {"le": "+Inf"}) == count)
    assert (metrics.registry.get_sample_value(name, {"le": "0.06"}) or 0) >= count - 1
    assert await speaker.scheduler.close()
