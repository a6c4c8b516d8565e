"""A whole recording to text, through the same models as live callers but always behind them."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import structlog

from services.asr.engines.base import DecodeRequest, EngineError, Floats, Hypothesis
from services.asr.listening import Hearing
from services.asr.messages import Encoding, Start, Word
from services.asr.segments import CuttingOptions, Span, pieces
from services.asr.service import AsrService
from services.asr.transcript import Segment, Transcript
from services.asr.vad.base import SAMPLE_RATE
from services.shared.protocol.base import ErrorCode, ProtocolError
from services.shared.runtime.lifecycle import ModelOwner
from services.shared.runtime.scheduler import (
    Completed,
    Priority,
    QueueFull,
    SchedulerClosed,
)

R = TypeVar("R")

log = structlog.get_logger(__name__)

_BLOCK = SAMPLE_RATE // 2
"""Samples of one VAD job: short, so that it never keeps a live caller waiting."""
_AHEAD = 2
"""Pieces of one recording that wait for the recogniser at a time."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the client asked for."""

    language: str | None = None
    word_timestamps: bool = False
    prompt: str = ""
    hotwords: tuple[str, ...] = ()


async def transcribe(service: AsrService, samples: Floats, wishes: Wishes) -> Transcript:
    """Recognise 16 kHz mono samples [n]; cancel the task to give it up."""
    probabilities = await _listen(service, samples)
    vad = service.config.vad
    options = CuttingOptions(vad.start_threshold, vad.stop_threshold)
    # The recording's last frame may be a part of one.
    spans = [(start, min(end, len(samples))) for start, end in pieces(probabilities, options)]
    segments, languages = [], Counter[str]()
    async for span, hypothesis in _decode(service, samples, spans, wishes):
        if hypothesis.text:
            segments.append(_segment(span, hypothesis, wishes))
            languages[hypothesis.language or ""] += len(hypothesis.text)
    language = languages.most_common(1)[0][0] if languages else wishes.language
    return Transcript(
        text=" ".join(segment.text for segment in segments),
        language=language or None,
        duration_ms=len(samples) * 1000 // SAMPLE_RATE,
        segments=tuple(segments),
    )


async def _listen(service: AsrService, samples: Floats) -> list[float]:
    """Voice probability of every frame."""
    start = Start(encoding=Encoding.PCM_F32LE, sample_rate=SAMPLE_RATE)
    ear = service.listener.new_ear(start)
    probabilities: list[float] = []
    for at in range(0, max(1, len(samples)), _BLOCK):
        last = at + _BLOCK >= len(samples)
        block = samples[at : at + _BLOCK].astype("<f4").tobytes()
        job = service.ears.submit(Hearing(ear, [block], flush=last), priority=Priority.BULK)
        probabilities += (await _answer(job, service.ears, service)).probabilities
    return probabilities


async def _decode(
    service: AsrService, samples: Floats, spans: Sequence[Span], wishes: Wishes
) -> AsyncIterator[tuple[Span, Hypothesis]]:
    """Pieces in order, a few under way at a time."""
    under_way: list[tuple[Span, asyncio.Future[Completed[Hypothesis]]]] = []
    waiting = list(reversed(spans))
    try:
        while waiting or under_way:
            while waiting and len(under_way) < _AHEAD:
                span = waiting.pop()
                await service.overload.while_only_finals()
                request = _request(samples, span, wishes)
                under_way.append((span, service.recogniser.transcribe(request)))
            span, job = under_way.pop(0)
            yield span, await _answer(job, service.recogniser, service)
    finally:
        for _, job in under_way:
            job.cancel()


async def _answer(job: "asyncio.Future[Completed[R]]", owner: ModelOwner, service: AsrService) -> R:
    """Await a job, as long as its turn may take to come, but not for a model that hangs.

    Raises:
        ProtocolError: `engine_failed`.
    """
    limit_s = service.config.engine_timeout_s
    try:
        while not (await asyncio.wait({job}, timeout=min(1.0, limit_s)))[0]:
            if owner.busy_for() > limit_s:
                raise TimeoutError(f"{owner.name} has not answered for {limit_s:g} s")
        return job.result().value
    except (QueueFull, SchedulerClosed):
        raise
    except Exception as error:  # noqa: BLE001 - whatever a model raises is told in one way
        log.error("recognition of a file failed", error=repr(error))
        sentence = str(error) if isinstance(error, EngineError) else "recognition failed"
        raise ProtocolError(ErrorCode.ENGINE_FAILED, sentence) from None
    finally:
        job.cancel()


def _request(samples: Floats, span: Span, wishes: Wishes) -> DecodeRequest:
    return DecodeRequest(
        audio=np.ascontiguousarray(samples[span[0] : span[1]]),
        final=True,
        language=wishes.language,
        prompt=wishes.prompt,
        hotwords=wishes.hotwords,
        word_timestamps=wishes.word_timestamps,
    )


def _segment(span: Span, hypothesis: Hypothesis, wishes: Wishes) -> Segment:
    start_ms = span[0] * 1000 // SAMPLE_RATE
    words = tuple(
        Word(
            word=word.word,
            start_ms=start_ms + word.start_ms,
            end_ms=start_ms + word.end_ms,
            confidence=round(word.confidence, 3),
        )
        for word in hypothesis.words
    )
    return Segment(
        start_ms=start_ms,
        end_ms=span[1] * 1000 // SAMPLE_RATE,
        text=hypothesis.text,
        confidence=hypothesis.confidence,
        words=words if wishes.word_timestamps else None,
    )
