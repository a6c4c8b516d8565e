"""`voice bench call`."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from examples.asterisk_bridge.bench.run import CallPlan
    from examples.asterisk_bridge.bench.stack import Stack

app = typer.Typer(add_completion=False)


@app.command()
def call(
    concurrency: Annotated[str, typer.Option(help="Calls at once, one level each.")] = "1,4,8",
    calls: Annotated[int, typer.Option(min=1, help="Calls of a level, at least.")] = 4,
    turns: Annotated[int, typer.Option(min=1, max=20, help="Questions of each call.")] = 3,
    interrupt: Annotated[bool, typer.Option(help="Speak into the last answer.")] = True,
    short: Annotated[
        bool, typer.Option("--short", help="Short calls in a row instead; what do they leave?")
    ] = False,
    llm: Annotated[
        str, typer.Option(help="scripted, smollm2, or the base URL of an OpenAI-compatible server.")
    ] = "scripted",
    llm_model: Annotated[str, typer.Option(help="Its name at that server.")] = "default",
    first_token_ms: Annotated[float, typer.Option(min=0, help="scripted: first word.")] = 50.0,
    token_ms: Annotated[float, typer.Option(min=0, help="scripted: between words.")] = 20.0,
    media: Annotated[str, typer.Option(help="auto, websocket or rtp.")] = "auto",
    corpus: Annotated[
        Path | None, typer.Option(help="JSONL of short recordings. Default: the bundled ones.")
    ] = None,
    seed: Annotated[int, typer.Option(help="What callers say.")] = 1,
    agent: Annotated[Path | None, typer.Option(help="YAML of another agent.")] = None,
    asr_url: Annotated[str | None, typer.Option(help="http://host:port of a running ASR.")] = None,
    asr_config: Annotated[Path | None, typer.Option(help="Configuration of the ASR.")] = None,
    tts_url: Annotated[str | None, typer.Option(help="http://host:port of a running TTS.")] = None,
    tts_config: Annotated[Path | None, typer.Option(help="Configuration of the TTS.")] = None,
    sip: Annotated[
        str | None, typer.Option(help="host:port of an Asterisk with a bridge that runs already.")
    ] = None,
    number: Annotated[str, typer.Option(help="With --sip: the number to call.")] = "1000",
    settings: Annotated[
        Path | None,
        typer.Option(help="With --sip: the bridge's voice-agent.yaml, for its journal."),
    ] = None,
    record: Annotated[bool, typer.Option(help="Keep the recordings of all calls.")] = False,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("bench-out"),
) -> None:
    """Place 1…N calls at once through Asterisk and measure what the caller hears.

    Starts Asterisk (scripts/make_asterisk_bench.sh), ASR, TTS, language model and bridge. Ends with
    exit code 1 when a call failed, a question had no answer, an interruption no silence, or when
    short calls left something behind.
    """
    from examples.asterisk_bridge.bench.run import CallPlan
    from examples.asterisk_bridge.bench.stack import StackPlan
    from services.bench.commands import levels_of
    from services.bench.corpus import CorpusError, bundled_corpus
    from services.cli.failures import CommandFailed, told

    _check_media(media)
    stack = StackPlan(
        llm=llm,
        llm_model=llm_model,
        first_token_ms=first_token_ms,
        token_ms=token_ms,
        media=media,
        asr_url=asr_url,
        asr_config=asr_config,
        tts_url=tts_url,
        tts_config=tts_config,
        agent=agent,
    )
    with told():
        try:
            plan = CallPlan(
                corpus=corpus or bundled_corpus(),
                levels=(1,) if short else levels_of(concurrency),
                calls=calls,
                turns=turns,
                seed=seed,
                interrupt=interrupt,
                record=record,
                stack=stack,
                there=_there(sip, number, settings),
            )
            _measure(plan, out, short=short)
        except CorpusError as error:
            raise CommandFailed(str(error)) from None


def _measure(plan: "CallPlan", out: Path, *, short: bool) -> None:
    from services.bench.commands import measure

    if short:
        from examples.asterisk_bridge.bench.short import draw_short, run_short_calls, show_short

        measure("short-calls", out, partial(run_short_calls, plan), draw_short, show_short)
        return
    from examples.asterisk_bridge.bench.chart import draw_calls
    from examples.asterisk_bridge.bench.report import show_calls
    from examples.asterisk_bridge.bench.run import run_call_benchmark

    measure("call", out, partial(run_call_benchmark, plan), draw_calls, show_calls)


def _there(sip: str | None, number: str, settings: Path | None) -> "Stack | None":
    if sip is None:
        return None
    from examples.asterisk_bridge.bench.stack import Stack
    from examples.voice_agent.settings import load_settings

    host, _, port = sip.rpartition(":")
    if not host or not port.isdigit():
        raise typer.BadParameter(f'--sip "{sip}": expected host:port')
    return Stack((host, int(port)), number, None if settings is None else load_settings(settings))


def _check_media(media: str) -> None:
    if media not in ("auto", "websocket", "rtp"):
        raise typer.BadParameter(f'--media "{media}": expected auto, websocket or rtp')
