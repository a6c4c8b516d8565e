"""Transcription without an edge: schedulers, models that read tones, and a clock of our own."""

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from services.asr.service import AsrService
from services.asr.transcription import Wishes, transcribe
from services.shared.models.store import ModelStore
from services.shared.runtime.scheduler import SchedulerClosed
from tests.services.asr.conftest import tones
from tests.services.asr.sounds import joined, silence, tone
from tests.services.serving import eventually


@pytest.fixture
async def service() -> AsyncIterator[AsrService]:
    made = AsrService(tones(delay_ms=30), ModelStore(), CollectorRegistry())
    await made.load()
    yield made
    await made.unload()


async def test_nothing_is_nothing(service: AsrService) -> None:
    got = await transcribe(service, np.zeros(0, dtype=np.float32), Wishes(language="vi"))
    assert (got.text, got.language, got.duration_ms, got.segments) == ("", "vi", 0, ())


async def test_segments_end_where_the_recording_does(service: AsrService) -> None:
    samples = joined(silence(100), tone(400, 1013))
    got = await transcribe(service, samples, Wishes())
    assert got.duration_ms == len(samples) // 16
    assert got.segments[-1].end_ms == got.duration_ms


async def test_recordings_of_several_callers_do_not_mix(service: AsrService) -> None:
    samples = {
        hertz: joined(*(joined(tone(hertz, 1000), silence(2000)) for _ in range(4)))
        for hertz in (400, 700, 1100)
    }
    got = await asyncio.gather(
        *(transcribe(service, audio, Wishes()) for audio in samples.values())
    )
    for hertz, transcript in zip(samples, got, strict=True):
        assert len(transcript.segments) == 4
        for segment in transcript.segments:
            assert f"w{hertz // 100}" in segment.text.split()[1:-1]
            assert len(set(segment.text.split()[1:-1])) == 1
        starts = [segment.start_ms for segment in transcript.segments]
        assert starts == sorted(starts)


async def test_given_up_work_leaves_the_queue(service: AsrService) -> None:
    task = asyncio.create_task(transcribe(service, tone(400, 290_000), Wishes()))
    await eventually(lambda: service.recogniser.busy_for() > 0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    schedulers = service.schedulers
    await eventually(lambda: not any(each.pending or each.busy_for() for each in schedulers))


async def test_a_service_that_shuts_down_says_so(service: AsrService) -> None:
    task = asyncio.create_task(transcribe(service, tone(400, 290_000), Wishes()))
    await eventually(lambda: service.recogniser.busy_for() > 0)
    await service.unload()
    with pytest.raises(SchedulerClosed):
        await task
