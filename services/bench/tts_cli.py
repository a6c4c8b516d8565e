"""`voice bench tts`."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.bench.commands import levels_of, measure

if TYPE_CHECKING:
    from services.bench.tts_run import TtsPlan

_FEEDS = {"both": ("tokens", "whole"), "tokens": ("tokens",), "whole": ("whole",)}


def tts(
    concurrency: Annotated[str, typer.Option(help="Listeners at once, one level each.")] = "1,8",
    feed: Annotated[str, typer.Option(help="tokens, whole (all text at once) or both.")] = "both",
    tokens_per_s: Annotated[
        float, typer.Option(min=1, max=10_000, help="Pace of the language model.")
    ] = 40.0,
    talk_share: Annotated[
        float, typer.Option(min=0.05, max=1, help="Part of the time that a listener hears speech.")
    ] = 1.0,
    cancel_share: Annotated[
        float, typer.Option(min=0, max=1, help="Part of the answers that are interrupted.")
    ] = 0.2,
    count: Annotated[
        int | None, typer.Option(min=1, help="Answers of a level, of all listeners together.")
    ] = None,
    minutes: Annotated[float | None, typer.Option(min=0.01, help="Or the level's length.")] = None,
    play: Annotated[
        bool, typer.Option(help="Play in real time; else ask for the next answer at once.")
    ] = True,
    seed: Annotated[int, typer.Option(help="Order, interruptions and pauses.")] = 1,
    voice: Annotated[str | None, typer.Option(help="A voice id.")] = None,
    encoding: Annotated[str, typer.Option(help="pcm_s16le, pcm_f32le, mulaw, alaw")] = "pcm_s16le",
    sample_rate: Annotated[
        int | None, typer.Option(min=8000, max=48_000, help="Default: the voice's own.")
    ] = None,
    quality: Annotated[
        bool, typer.Option(help="Transcribe and judge every sentence at the end.")
    ] = True,
    similarity: Annotated[
        Path | None,
        typer.Option(help="A recording of the person whose voice was cloned; needs resemblyzer."),
    ] = None,
    formats: Annotated[bool, typer.Option(help="Measure file formats and the cache.")] = True,
    asr_model: Annotated[str, typer.Option(help="Listens to the result.")] = "whisper-tiny.en",
    language: Annotated[str, typer.Option(help="Of the sentences.")] = "en",
    sentences: Annotated[
        Path | None, typer.Option(help="One a line. Default: the bundled ones.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="The service's configuration.")] = None,
    url: Annotated[str | None, typer.Option(help="http://host:port of a running service.")] = None,
    key: Annotated[str | None, typer.Option(envvar="VOICE_TTS_KEY", help="API key.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("bench-out"),
) -> None:
    """Feed text to 1…N listeners at once; first audio, underruns, cancels, memory, quality.

    Ends with exit code 1 when an answer failed or audio came after `cancelled`.
    """
    from services.bench.corpus import CorpusError
    from services.bench.tts_run import TtsPlan
    from services.bench.tts_text import SENTENCES
    from services.cli.failures import CommandFailed, told

    start: dict[str, Any] = {"encoding": encoding}
    with told():
        try:
            plan = TtsPlan(
                sentences=sentences or SENTENCES,
                levels=levels_of(concurrency),
                feeds=_feeds(feed),
                tokens_per_s=tokens_per_s,
                talk_share=talk_share,
                cancel_share=cancel_share,
                count=count,
                minutes=minutes,
                play=play,
                seed=seed,
                voice=voice,
                start=start | ({"sample_rate": sample_rate} if sample_rate else {}),
                quality=quality,
                similarity=similarity,
                formats=formats,
                asr_model=asr_model,
                language=language,
                config=config,
                url=url.rstrip("/") if url else None,
                key=key,
            )
            _measure(plan, out)
        except CorpusError as error:
            raise CommandFailed(str(error)) from None


def _measure(plan: "TtsPlan", out: Path) -> None:
    from services.bench.tts_chart import draw_tts
    from services.bench.tts_report import show_tts
    from services.bench.tts_run import run_tts_benchmark

    measure("tts", out, partial(run_tts_benchmark, plan), draw_tts, show_tts)


def _feeds(text: str) -> tuple[str, ...]:
    if text not in _FEEDS:
        raise typer.BadParameter(f'--feed "{text}": expected one of {", ".join(_FEEDS)}')
    return _FEEDS[text]
