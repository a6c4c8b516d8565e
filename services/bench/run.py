"""One benchmark from beginning to end: offline first, then a level for each number of callers."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from services.asr.config import DEFAULT_CONFIG, AsrConfig
from services.bench.caller import Line, place_call
from services.bench.corpus import Recording, load_corpus
from services.bench.load import LoadMeter
from services.bench.machine import describe_machine
from services.bench.measure import measure_level
from services.bench.offline import measure_offline
from services.bench.results import BenchResult, LevelResult, OfflineResult
from services.bench.script import Clip, Extent, write_scripts
from services.bench.service import Service, running_asr
from services.bench.wer import Scorer
from services.bench.wire import Wire

_SETTLE_S = 1.0
"""Between levels, so that one's tail does not count in the next."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure."""

    corpus: Path
    levels: tuple[int, ...]
    wire: Wire
    extent: Extent
    seed: int
    chunk_ms: int
    partials: bool
    offline: bool
    config: Path | None
    url: str | None
    """`http://host:port` of a service that runs already; else one is started."""
    key: str | None


async def run_benchmark(plan: Plan, log: Path, say: Say) -> BenchResult:
    """Carry out the plan; the service writes its log to `log`, `say` hears of progress.

    Raises:
        CorpusError, ConfigError, ModelError, ServiceFailed: with a sentence.
    """
    machine = describe_machine()
    config = AsrConfig.load(plan.config or DEFAULT_CONFIG)
    recordings = await asyncio.to_thread(load_corpus, plan.corpus)
    scorer = Scorer()
    offline = None
    if plan.offline:
        say(f"offline: {len(recordings)} recordings with {config.engine.model}")
        offline = await measure_offline(config.engine, recordings, plan.wire, scorer)
    clips = [Clip(recording, plan.wire.encode(recording.samples)) for recording in recordings]
    levels: list[LevelResult] = []
    async with _service(plan, log) as service:
        for callers in plan.levels:
            levels.append(await _level(plan, service, clips, callers, scorer, offline, say))
            await asyncio.sleep(_SETTLE_S)
    return BenchResult(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=machine,
        setup=_setup(plan, config, service, recordings),
        offline=offline,
        levels=tuple(levels),
    )


@asynccontextmanager
async def _service(plan: Plan, log: Path) -> AsyncIterator[Service]:
    if plan.url is not None:
        yield Service(plan.url)
        return
    async with running_asr(plan.config, max(plan.levels) + 1, log) as service:
        yield service


async def _level(
    plan: Plan,
    service: Service,
    clips: list[Clip],
    callers: int,
    scorer: Scorer,
    offline: OfflineResult | None,
    say: Say,
) -> LevelResult:
    scripts = write_scripts(clips, plan.wire, callers, plan.extent, plan.seed)
    longest = max(script.duration_s for script in scripts)
    say(f"{callers} at once: {longest / 60:.1f} minutes")
    line = Line(service.ws_url, plan.key, plan.chunk_ms, plan.partials)
    meter = LoadMeter(service.http_url, service.pid)
    began = time.monotonic()
    async with meter.measuring():
        calls = await asyncio.gather(*(place_call(line, script) for script in scripts))
    seconds = time.monotonic() - began
    assert meter.result is not None
    return measure_level(calls, seconds, meter.result, scorer, offline)


def _setup(
    plan: Plan, config: AsrConfig, service: Service, recordings: list[Recording]
) -> dict[str, Any]:
    ours = service.pid is not None
    return {
        "corpus": plan.corpus.name,
        "recordings": len(recordings),
        "speech_s": round(sum(recording.seconds for recording in recordings), 1),
        "encoding": plan.wire.format.encoding,
        "sample_rate": plan.wire.format.sample_rate,
        "chunk_ms": plan.chunk_ms,
        "partials": plan.partials,
        "extent": asdict(plan.extent),
        "seed": plan.seed,
        "service": "started here" if ours else plan.url,
        "startup_s": service.startup_s,
        "config": config.model_dump(mode="json", include={"engine", "vad", "turn", "partials"})
        if ours
        else None,
    }
