"""One cluster benchmark from beginning to end: load, then faults, then the soak."""

import asyncio
import gc
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

from services.bench.cluster.accounts import account
from services.bench.cluster.crowd import crowd, repertoires_of, spread_s
from services.bench.cluster.faults import Stage, run_fault
from services.bench.cluster.instances import Cluster, Instance, running_cluster
from services.bench.cluster.manner import Manner
from services.bench.cluster.pings import Pinger
from services.bench.cluster.plan import ClusterPlan, environments
from services.bench.cluster.results import ClusterBench, Load
from services.bench.cluster.scenarios import SCENARIOS
from services.bench.cluster.soak import run_soak
from services.bench.cluster.speech import Utterance, usable
from services.bench.cluster.watch import Watch
from services.bench.corpus import Recording, load_corpus
from services.bench.machine import describe_machine
from services.bench.results import Spread

_SETTLE_S = 2.0
"""After the last caller has come, until processors are measured."""
_ANSWER_S = 15.0
_REAL_ANSWER_S = 60.0

Say = Callable[[str], None]


async def run_cluster_benchmark(plan: ClusterPlan, log: Path, say: Say) -> ClusterBench:
    """Carry out the plan; the services write their logs to `log`, `say` hears of progress.

    Raises:
        CorpusError, ConfigError, ModelError, ServiceFailed, BalancerFailed: with a sentence.
    """
    machine = describe_machine()
    recordings = usable(await asyncio.to_thread(load_corpus, plan.corpus))
    people = max(plan.callers, plan.fault_callers)
    repertoires = await asyncio.to_thread(repertoires_of, recordings, people, plan.seed)
    gc.collect()
    gc.freeze()  # what was prepared is not walked over while callers wait
    with tempfile.TemporaryDirectory(prefix="voice-cluster-") as folder:
        async with _cluster(plan, log, Path(folder)) as cluster:
            manner = _manner(plan, cluster)
            load = await _load(plan, cluster, manner, repertoires, say) if plan.seconds else None
            stage = Stage(plan, cluster, manner, repertoires, log, Path(folder), say)
            faults = [await run_fault(name, SCENARIOS[name], stage) for name in plan.faults]
            soak = None
            if plan.soak_minutes:
                say(f"soak: {plan.callers} callers for {plan.soak_minutes:g} minutes")
                soak = await run_soak(plan, cluster, manner, repertoires, say)
    return ClusterBench(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=machine,
        setup=_setup(plan, recordings),
        load=load,
        faults=tuple(faults),
        soak=soak,
    )


@asynccontextmanager
async def _cluster(plan: ClusterPlan, log: Path, folder: Path) -> AsyncIterator[Cluster]:
    if plan.asr_url is not None and plan.tts_url is not None:
        yield Cluster(plan.asr_url, plan.tts_url)
        return
    async with running_cluster(instances_of(plan, log), folder) as cluster:
        yield cluster


def instances_of(plan: ClusterPlan, log: Path) -> list[Instance]:
    """Those that are to be started."""
    told = environments(plan)
    asr = [
        Instance("asr", each + 1, log=log, config=plan.asr_config, environment=told["asr"])
        for each in range(plan.asr)
    ]
    tts = [
        Instance("tts", each + 1, log=log, config=plan.tts_config, environment=told["tts"])
        for each in range(plan.tts)
    ]
    return [*asr, *tts]


def _manner(plan: ClusterPlan, cluster: Cluster) -> Manner:
    return Manner(
        asr_url="ws" + cluster.asr_url.removeprefix("http"),
        tts_url="ws" + cluster.tts_url.removeprefix("http"),
        asr_key=plan.asr_key,
        tts_key=plan.tts_key,
        exact=plan.exact,
        partials=plan.partials,
        answer_within_s=_ANSWER_S if plan.exact else _REAL_ANSWER_S,
    )


async def _load(
    plan: ClusterPlan,
    cluster: Cluster,
    manner: Manner,
    repertoires: list[list[Utterance]],
    say: Say,
) -> Load:
    say(f"load: {plan.callers} callers for {plan.seconds:g} s")
    settle_s = spread_s(plan.callers) + _SETTLE_S
    watch = Watch(cluster)
    pinger = Pinger(cluster, plan.asr_key, plan.tts_key)
    async with crowd(manner, repertoires[: plan.callers], plan.seed) as people:
        await asyncio.sleep(settle_s)
        began = time.monotonic()
        async with watch.measuring(), pinger.pinging():
            await asyncio.sleep(plan.seconds)
        seconds = time.monotonic() - began
    diaries = people.diaries
    late = (diary.lateness_s[round(settle_s) :] for diary in diaries)
    usage = watch.usage
    assert usage is not None
    return Load(
        seconds=round(seconds, 1),
        accounts=account(diaries, exact=plan.exact, since_s=began),
        outages=sum(len(diary.outages) for diary in diaries),
        pings=pinger.result(),
        cpu_percent=usage.cpu_percent,
        loop_lag_p99_ms=usage.loop_lag_p99_ms,
        lateness_ms=Spread.of_seconds(chain.from_iterable(late)),
    )


def _setup(plan: ClusterPlan, recordings: list[Recording]) -> dict[str, Any]:
    return {
        "engine": plan.engine,
        "asr": plan.asr,
        "tts": plan.tts,
        "cluster": plan.asr_url
        or f"{plan.asr} ASR + {plan.tts} TTS instances behind nginx, started here",
        "callers": plan.callers,
        "fault_callers": plan.fault_callers,
        "partials": plan.partials,
        "drain_s": plan.drain_s,
        "max_sessions": plan.max_sessions or "as configured",
        "corpus": plan.corpus.name,
        "recordings": len(recordings),
        "seed": plan.seed,
        "faults": list(plan.faults),
        "soak_minutes": plan.soak_minutes,
    }
