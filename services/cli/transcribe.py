"""`voice transcribe`: recordings to text, JSON or subtitles."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from services.asr.transcript import Transcript
from services.cli import subtitles
from services.cli.failures import CommandFailed, run
from services.cli.processes import ServiceProcess, running
from services.client.asr import transcribe_file
from services.shared.protocol.codec import encode

app = typer.Typer(add_completion=False)


@app.command()
def transcribe(
    files: Annotated[list[Path], typer.Argument(help="Recordings in any common format.")],
    as_json: Annotated[bool, typer.Option("--json", help="Everything, one JSON a line.")] = False,
    as_srt: Annotated[bool, typer.Option("--srt", help="SubRip subtitles.")] = False,
    as_vtt: Annotated[bool, typer.Option("--vtt", help="WebVTT subtitles.")] = False,
    language: Annotated[str | None, typer.Option(help="ISO 639-1; none: detect.")] = None,
    url: Annotated[str | None, typer.Option(help="http://host:port of a running service.")] = None,
    key: Annotated[str | None, typer.Option(envvar="VOICE_ASR_KEY", help="API key.")] = None,
) -> None:
    """Transcribe recordings; starts a service for it unless --url names one."""
    if as_json + as_srt + as_vtt > 1:
        raise typer.BadParameter("choose one of --json, --srt and --vtt")
    form = "json" if as_json else "srt" if as_srt else "vtt" if as_vtt else "text"
    run(_transcribe_all(files, form, language, url, key))


async def _transcribe_all(
    files: list[Path], form: str, language: str | None, url: str | None, key: str | None
) -> None:
    for path in files:
        if not path.is_file():
            raise CommandFailed(f"{path} is no file")
    console = Console(stderr=True)
    async with _service(url, console) as address:
        for path in files:
            with console.status(f"transcribing {path.name}"):
                transcript = await transcribe_file(
                    address,
                    path,
                    key=key,
                    language=language,
                    word_timestamps=form != "text",
                )
            typer.echo(_written(transcript, form, path, several=len(files) > 1), nl=False)


@asynccontextmanager
async def _service(url: str | None, console: Console) -> AsyncIterator[str]:
    """The address of a service: the one named, or one of our own for the time being."""
    if url is not None:
        yield url.rstrip("/")
        return
    service = ServiceProcess("asr")
    console.print("starting the service …", style="dim")
    async with running(service):
        yield service.http_url


def _written(transcript: Transcript, form: str, path: Path, *, several: bool) -> str:
    match form:
        case "json":
            return encode(transcript) + "\n"
        case "srt":
            return subtitles.srt(subtitles.cues(subtitles.words_of(transcript)))
        case "vtt":
            return subtitles.vtt(subtitles.cues(subtitles.words_of(transcript)))
        case _:
            return (f"{path}: " if several else "") + transcript.text + "\n"
