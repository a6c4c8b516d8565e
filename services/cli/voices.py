"""`voice voices`: the voices of a running service, and those that one clones."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from services.cli.failures import run
from services.client.voices import Voices

app = typer.Typer(no_args_is_help=True, help="The voices of a service; clone your own.")

Url = Annotated[str, typer.Option(help="http://host:port of a running service.")]
Key = Annotated[str | None, typer.Option(envvar="VOICE_TTS_KEY", help="API key: whose voices.")]
VoiceId = Annotated[str, typer.Argument(help="A voice id, as `voice voices list` shows it.")]

_URL = "http://127.0.0.1:8002"


@app.command("list")
def list_voices(url: Url = _URL, key: Key = None) -> None:
    """Show the voices that you can use."""

    async def work() -> None:
        async with Voices.at(url, key=key) as voices:
            told = await voices.list()
        table = Table("id", "name", "language", "engine", "licence")
        for voice in told:
            table.add_row(voice.id, voice.name, voice.language, voice.engine, voice.licence)
        Console().print(table)

    run(work())


@app.command()
def add(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="3 to 60 s of speech.")],
    name: Annotated[str, typer.Option(help="What to call the voice.")],
    language: Annotated[str, typer.Option(help="What it shall speak, e.g. en-US.")],
    consent: Annotated[str, typer.Option(help="Who consented to this, and how. It is kept.")],
    engine: Annotated[str | None, typer.Option(help="Default: the service chooses.")] = None,
    url: Url = _URL,
    key: Key = None,
) -> None:
    """Clone a voice from a recording of somebody who agreed to it; prints its id."""

    async def work() -> None:
        async with Voices.at(url, key=key) as voices:
            made = await voices.create(
                file, name=name, language=language, consent=consent, engine=engine
            )
        print(made.id)
        console = Console(stderr=True)
        console.print(f"{made.speech_s:g} s of speech, {made.snr_db:g} dB above noise", style="dim")

    run(work())


@app.command()
def rename(voice: VoiceId, name: str, url: Url = _URL, key: Key = None) -> None:
    """Call one of your voices something else."""

    async def work() -> None:
        async with Voices.at(url, key=key) as voices:
            await voices.rename(voice, name)

    run(work())


@app.command()
def delete(voice: VoiceId, url: Url = _URL, key: Key = None) -> None:
    """Delete one of your voices for good, audio and all."""

    async def work() -> None:
        async with Voices.at(url, key=key) as voices:
            await voices.delete(voice)

    run(work())


@app.command()
def sample(
    voice: VoiceId,
    out: Annotated[Path, typer.Option("--out", "-o", help="The suffix decides: wav, mp3, …")],
    url: Url = _URL,
    key: Key = None,
) -> None:
    """Have a voice say a sentence into a file."""

    async def work() -> None:
        async with Voices.at(url, key=key) as voices:
            data = await voices.sample(voice, out.suffix.lower().lstrip(".") or "wav")
        await asyncio.to_thread(out.write_bytes, data)

    run(work())
