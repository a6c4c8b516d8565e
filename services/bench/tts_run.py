"""One TTS benchmark from beginning to end: levels, then what needs no crowd, then the judges."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from services.bench.load import LoadMeter
from services.bench.machine import describe_machine
from services.bench.service import Service, running_tts
from services.bench.similarity import check_encoder, measure_similarity, read_reference
from services.bench.tts_counters import read_counters
from services.bench.tts_extras import hear_sentences, measure_cache, measure_formats
from services.bench.tts_listener import Manner, listen
from services.bench.tts_measure import counts_of, measure_level
from services.bench.tts_quality import Speech, measure_quality
from services.bench.tts_results import CacheResult, FormatResult, TtsBench, TtsLevel
from services.bench.tts_text import load_sentences, replies
from services.bench.wer import Scorer
from services.tts.config import DEFAULT_CONFIG, TtsConfig
from services.tts.messages import CacheUse

_SETTLE_S = 1.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class TtsPlan:
    """What to measure."""

    sentences: Path
    levels: tuple[int, ...]
    feeds: tuple[str, ...]
    tokens_per_s: float
    talk_share: float
    cancel_share: float
    count: int | None
    """Answers of a level, all listeners together; None: the sentences about once."""
    minutes: float | None
    """Or as many as fit into this time."""
    play: bool
    seed: int
    voice: str | None
    start: dict[str, Any]
    """More fields of every `start` message."""
    quality: bool
    similarity: Path | None
    """A recording of the person whose voice was cloned."""
    formats: bool
    asr_model: str
    language: str
    config: Path | None
    url: str | None
    """`http://host:port` of a service that runs already; else one is started."""
    key: str | None


async def run_tts_benchmark(plan: TtsPlan, log: Path, say: Say) -> TtsBench:
    """Carry out the plan; the service writes its log to `log`, `say` hears of progress.

    Raises:
        CorpusError, ConfigError, ModelError, ServiceError, ServiceFailed: with a sentence.
    """
    machine = describe_machine()
    config = TtsConfig.load(plan.config or DEFAULT_CONFIG)
    sentences = load_sentences(plan.sentences)
    reference = None
    if plan.similarity is not None:
        check_encoder()
        reference = await asyncio.to_thread(read_reference, plan.similarity)
    levels: list[TtsLevel] = []
    speech: list[Speech] = []
    cache: CacheResult | None = None
    formats: tuple[FormatResult, ...] = ()
    async with _service(plan, log) as service:
        manner = _manner(plan, service)
        for listeners in plan.levels:
            for feed in plan.feeds:
                levels.append(await _level(plan, service, manner, feed, listeners, sentences, say))
                await asyncio.sleep(_SETTLE_S)
        if plan.formats:
            say("formats and cache")
            cache = await measure_cache(manner)
            formats = await measure_formats(service.http_url, plan.voice, plan.key)
        if plan.quality or reference is not None:
            say(f"{len(sentences)} sentences to be judged")
            speech = await hear_sentences(manner, sentences)
    quality = None
    if speech and plan.quality:
        say(f"listening with {plan.asr_model}")
        quality = await measure_quality(speech, plan.asr_model, plan.language, Scorer())
    similarity = None
    if reference is not None:
        heard = [each.samples for each in speech]
        similarity = await asyncio.to_thread(measure_similarity, reference, heard)
    return TtsBench(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=machine,
        setup=_setup(plan, config, service, len(sentences)),
        levels=tuple(levels),
        quality=quality,
        similarity=similarity,
        formats=formats,
        cache=cache,
    )


@asynccontextmanager
async def _service(plan: TtsPlan, log: Path) -> AsyncIterator[Service]:
    if plan.url is not None:
        yield Service(plan.url)
        return
    async with running_tts(plan.config, max(plan.levels) + 1, log) as service:
        yield service


def _manner(plan: TtsPlan, service: Service) -> Manner:
    # What was said before must not make a level look fast; the cache has a measure of its own.
    start: dict[str, Any] = {"cache": CacheUse.BYPASS} | plan.start
    if plan.voice is not None:
        start["voice"] = plan.voice
    return Manner(
        url=service.ws_url,
        key=plan.key,
        talk_share=plan.talk_share,
        cancel_share=plan.cancel_share,
        play=plan.play,
        start=start,
    )


async def _level(
    plan: TtsPlan,
    service: Service,
    manner: Manner,
    feed: str,
    listeners: int,
    sentences: list[str],
    say: Say,
) -> TtsLevel:
    pace = plan.tokens_per_s if feed == "tokens" else None
    texts = _work(plan, listeners, sentences)
    say(f"{listeners} at once, {feed}")
    meter = LoadMeter(service.http_url, service.pid)
    before = await read_counters(service.http_url)
    began = time.monotonic()
    async with meter.measuring():
        heard = await asyncio.gather(
            *(
                listen(
                    replace(manner, tokens_per_s=pace), texts, random.Random(f"{plan.seed}/{each}")
                )
                for each in range(listeners)
            )
        )
    seconds = time.monotonic() - began
    counts = counts_of(before, await read_counters(service.http_url))
    assert meter.result is not None
    return measure_level(feed, heard, seconds, meter.result, meter.memory, counts)


def _work(plan: TtsPlan, listeners: int, sentences: list[str]) -> Iterator[str]:
    """One supply of answers for all listeners of a level, ended by count or by time."""
    supply = replies(sentences, plan.seed)
    if plan.minutes is not None:
        return _until(supply, time.monotonic() + plan.minutes * 60)
    return islice(supply, plan.count or max(len(sentences) // 2, 4 * listeners))


def _until(supply: Iterator[str], deadline: float) -> Iterator[str]:
    for text in supply:
        if time.monotonic() >= deadline:
            return
        yield text


def _setup(plan: TtsPlan, config: TtsConfig, service: Service, sentences: int) -> dict[str, Any]:
    ours = service.pid is not None
    return {
        "sentences": sentences,
        "tokens_per_s": plan.tokens_per_s,
        "talk_share": plan.talk_share,
        "cancel_share": plan.cancel_share,
        "count": plan.count,
        "minutes": plan.minutes,
        "play": plan.play,
        "seed": plan.seed,
        "voice": plan.voice,
        "start": plan.start,
        "service": "started here" if ours else plan.url,
        "startup_s": service.startup_s,
        "config": config.model_dump(mode="json", include={"engines", "text", "voices"})
        if ours
        else None,
    }
