"""`voice bench cluster`."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.bench.commands import measure

if TYPE_CHECKING:
    from services.bench.cluster.plan import ClusterPlan, EngineKind


def cluster(
    instances: Annotated[str, typer.Option(help="Of ASR and of TTS.")] = "2+2",
    callers: Annotated[int, typer.Option(min=1, max=2000, help="Conversations at once.")] = 80,
    seconds: Annotated[
        float, typer.Option(min=0, help="Length of the load; 0: none is measured.")
    ] = 60.0,
    fault: Annotated[
        str, typer.Option(help="Names with commas, or `all`: see deploy/README.md.")
    ] = "",
    fault_callers: Annotated[int, typer.Option(min=1, help="Conversations during faults.")] = 20,
    minutes: Annotated[float, typer.Option(min=0, help="Length of the soak; 0: none.")] = 0.0,
    engine: Annotated[
        str, typer.Option(help="fake: the plumbing alone, exactly checked. real: the models.")
    ] = "fake",
    partials: Annotated[bool, typer.Option(help="Ask for partials.")] = True,
    corpus: Annotated[
        Path | None,
        typer.Option(help="JSONL of audio, text, language. Default: the bundled recordings."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Who says what when.")] = 1,
    drain_s: Annotated[
        float, typer.Option(min=0, help="After SIGTERM instances wait for sessions so long.")
    ] = 15.0,
    max_sessions: Annotated[
        int | None, typer.Option(min=1, help="Of each instance. Default: as configured.")
    ] = None,
    asr_config: Annotated[Path | None, typer.Option(help="Of the instances.")] = None,
    tts_config: Annotated[Path | None, typer.Option(help="Of the instances.")] = None,
    url: Annotated[
        str | None, typer.Option(help="http://host:port of a running cluster: no faults then.")
    ] = None,
    tts_url: Annotated[str | None, typer.Option(help="Its TTS, if that is elsewhere.")] = None,
    asr_key: Annotated[str | None, typer.Option(envvar="VOICE_ASR_KEY", help="API key.")] = None,
    tts_key: Annotated[str | None, typer.Option(envvar="VOICE_TTS_KEY", help="API key.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("bench-out"),
) -> None:
    """Callers in conversations with several instances behind nginx: load, faults, a long time.

    Starts the instances and nginx itself. Ends with exit code 1 when anything was lost, doubled or
    crossed, when a fault did more than it may, or when something grows.
    """
    from services.balancer.process import BalancerFailed
    from services.bench.cluster.plan import ClusterPlan
    from services.bench.corpus import CorpusError, bundled_corpus
    from services.cli.failures import CommandFailed, told

    asr, tts = _instances(instances)
    faults = _faults(fault)
    if url is not None and faults:
        raise typer.BadParameter("--fault: only for a cluster that is started here")
    with told():
        try:
            plan = ClusterPlan(
                corpus=corpus or bundled_corpus(),
                asr=asr,
                tts=tts,
                callers=callers,
                seconds=seconds,
                faults=faults,
                fault_callers=fault_callers,
                soak_minutes=minutes,
                engine=_engine(engine),
                partials=partials,
                seed=seed,
                drain_s=drain_s,
                max_sessions=max_sessions,
                asr_config=asr_config,
                tts_config=tts_config,
                asr_url=url.rstrip("/") if url else None,
                tts_url=(tts_url or url or "").rstrip("/") or None,
                asr_key=asr_key,
                tts_key=tts_key,
            )
            _measure(plan, out)
        except (CorpusError, BalancerFailed) as error:
            raise CommandFailed(str(error)) from None


def _measure(plan: "ClusterPlan", out: Path) -> None:
    import uvloop

    from services.bench.cluster.chart import draw_cluster
    from services.bench.cluster.report import show_cluster
    from services.bench.cluster.run import run_cluster_benchmark

    measure(
        "cluster",
        out,
        partial(run_cluster_benchmark, plan),
        draw_cluster,
        show_cluster,
        loop_factory=uvloop.new_event_loop,
    )


def _instances(text: str) -> tuple[int, int]:
    """ "2+2" → (2, 2). Raises typer.BadParameter."""
    try:
        asr, tts = (int(part) for part in text.split("+"))
    except ValueError:
        asr = tts = 0
    if min(asr, tts) < 1:
        raise typer.BadParameter(f'--instances "{text}": expected two numbers such as 2+2')
    return asr, tts


def _faults(text: str) -> tuple[str, ...]:
    from services.bench.cluster.scenarios import SCENARIOS

    if text == "all":
        return tuple(SCENARIOS)
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        if name not in SCENARIOS:
            known = ", ".join(SCENARIOS)
            raise typer.BadParameter(f'--fault "{name}": expected all, or some of {known}')
    return names


def _engine(text: str) -> "EngineKind":
    if text == "fake":
        return "fake"
    if text == "real":
        return "real"
    raise typer.BadParameter(f'--engine "{text}": expected fake or real')
