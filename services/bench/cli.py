"""`voice bench`: measure a service from outside, as its callers would."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from services.bench.cluster.cli import cluster
from services.bench.commands import levels_of, measure
from services.bench.tts_cli import tts
from services.cli.plugins import load_plugin, plugged_in

if TYPE_CHECKING:
    from services.bench.run import Plan
    from services.bench.wire import Wire

PLUGINS = "voice.bench"
"""Entry points of what other packages measure."""


class BenchGroup(TyperGroup):
    """The benchmarks of the services, then those of other packages."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), *(each.name for each in plugged_in(PLUGINS))]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        for command in plugged_in(PLUGINS):
            if command.name == cmd_name:
                return load_plugin(command)
        return super().get_command(ctx, cmd_name)


app = typer.Typer(
    cls=BenchGroup,
    no_args_is_help=True,
    add_completion=False,
    help="Measure the services from outside.",
)


app.command()(tts)
app.command()(cluster)


@app.callback()
def bench() -> None:
    """Measure the services from outside, as their callers would."""


@app.command()
def asr(
    corpus: Annotated[
        Path | None,
        typer.Option(help="JSONL of audio, text, language. Default: the bundled recordings."),
    ] = None,
    concurrency: Annotated[str, typer.Option(help="Callers at once, one level each.")] = "1,4,8",
    files: Annotated[
        int | None, typer.Option(min=1, help="Recordings that each caller says.")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0.01, help="Length of each call, repeating the corpus.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Order and pauses.")] = 1,
    encoding: Annotated[str, typer.Option(help="pcm_s16le, pcm_f32le, mulaw, alaw")] = "pcm_s16le",
    sample_rate: Annotated[int, typer.Option(min=8000, max=48_000)] = 16_000,
    chunk_ms: Annotated[int, typer.Option(min=5, max=1000)] = 20,
    partials: Annotated[bool, typer.Option(help="Ask for partials.")] = True,
    offline: Annotated[
        bool, typer.Option(help="Also measure faster-whisper offline, before the service runs.")
    ] = True,
    config: Annotated[Path | None, typer.Option(help="The service's configuration.")] = None,
    url: Annotated[str | None, typer.Option(help="http://host:port of a running service.")] = None,
    key: Annotated[str | None, typer.Option(envvar="VOICE_ASR_KEY", help="API key.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("bench-out"),
) -> None:
    """Stream recordings at real-time pace over 1…N callers at once; WER, latency, load.

    Ends with exit code 1 when anything was lost: a final, audio, a call, or a promise of
    `stable_text`.
    """
    from services.bench.corpus import CorpusError, bundled_corpus
    from services.bench.run import Plan
    from services.bench.script import Extent
    from services.cli.failures import CommandFailed, told

    with told():
        try:
            plan = Plan(
                corpus=corpus or bundled_corpus(),
                levels=levels_of(concurrency),
                wire=_wire(encoding, sample_rate),
                extent=Extent(files, minutes),
                seed=seed,
                chunk_ms=chunk_ms,
                partials=partials,
                offline=offline,
                config=config,
                url=url.rstrip("/") if url else None,
                key=key,
            )
            _measure(plan, out)
        except CorpusError as error:
            raise CommandFailed(str(error)) from None


def _measure(plan: "Plan", out: Path) -> None:
    from services.bench.chart import draw
    from services.bench.report import show
    from services.bench.run import run_benchmark

    measure("asr", out, partial(run_benchmark, plan), draw, show)


def _wire(encoding: str, sample_rate: int) -> "Wire":
    from services.bench.wire import Wire
    from services.shared.audio.pcm import AudioFormat, Encoding

    if encoding not in [each.value for each in Encoding]:
        names = ", ".join(each.value for each in Encoding)
        raise typer.BadParameter(f'--encoding "{encoding}": expected one of {names}')
    return Wire(AudioFormat(Encoding(encoding), sample_rate))
