"""A whole recording to text, through the same models as live callers but always behind them."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import numpy as np

from services.asr.engines.base import DecodeRequest, Floats, Hypothesis
from services.asr.listening import Hearing
from services.asr.messages import Encoding, Start, Word
from services.asr.segments import CuttingOptions, Span, pieces
from services.asr.service import AsrService
from services.asr.transcript import Segment, Transcript
from services.asr.vad.base import SAMPLE_RATE
from services.shared.runtime.scheduler import Completed, Priority

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
    spans = pieces(probabilities, options)
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
        async with asyncio.timeout(service.config.engine_timeout_s):
            probabilities += (await job).value.probabilities
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
                request = _request(samples, span, wishes)
                under_way.append((span, service.decoder.submit(request, priority=Priority.BULK)))
            span, job = under_way.pop(0)
            yield span, (await job).value
    finally:
        for _, job in under_way:
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
