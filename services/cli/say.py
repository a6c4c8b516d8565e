"""`voice say`: text to an audio file."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from services.cli.failures import CommandFailed, run
from services.cli.processes import ServiceProcess, running
from services.client.tts import synthesize
from services.shared.media.encode import FileFormat

app = typer.Typer(add_completion=False)

_SUFFIXES = {
    ".wav": FileFormat.WAV,
    ".flac": FileFormat.FLAC,
    ".mp3": FileFormat.MP3,
    ".ogg": FileFormat.OGG,
    ".opus": FileFormat.OPUS,
    ".pcm": FileFormat.PCM,
    ".raw": FileFormat.PCM,
    ".ulaw": FileFormat.MULAW,
    ".alaw": FileFormat.ALAW,
}


@app.command()
def say(
    text: Annotated[str, typer.Argument(help="What to say; - reads it from the input.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The suffix decides the format.")],
    voice: Annotated[str | None, typer.Option(help="A voice id.")] = None,
    speed: Annotated[float, typer.Option(min=0.25, max=4.0)] = 1.0,
    rate: Annotated[int | None, typer.Option(min=8000, max=48_000, help="Hz.")] = None,
    url: Annotated[str | None, typer.Option(help="http://host:port of a running service.")] = None,
    key: Annotated[str | None, typer.Option(envvar="VOICE_TTS_KEY", help="API key.")] = None,
) -> None:
    """Speak text into a file; starts a service for it unless --url names one."""
    file_format = _SUFFIXES.get(out.suffix.lower())
    if file_format is None:
        raise typer.BadParameter(f"{out} should end in one of {', '.join(_SUFFIXES)}")
    wanted: dict[str, Any] = {
        "text": sys.stdin.read() if text == "-" else text,
        "format": file_format.value,
        "speed": speed,
    }
    wanted |= {"voice": voice} if voice else {}
    wanted |= {"sample_rate": rate} if rate else {}
    run(_say(wanted, out, url, key))


async def _say(wanted: dict[str, Any], out: Path, url: str | None, key: str | None) -> None:
    if not wanted["text"].strip():
        raise CommandFailed("there is no text to say")
    console = Console(stderr=True)
    if url is not None:
        written = await _write(url.rstrip("/"), wanted, out, key)
    else:
        console.print("starting the service …", style="dim")
        service = ServiceProcess("tts")
        async with running(service):
            written = await _write(service.http_url, wanted, out, key)
    console.print(f"{out}: {written:,} bytes", highlight=False)


async def _write(url: str, wanted: dict[str, Any], out: Path, key: str | None) -> int:
    """Collect first, then write: a failure leaves no half file."""
    data = b"".join([block async for block in synthesize(url, wanted, key=key)])
    if wanted["format"] == FileFormat.WAV:
        data = _with_length(data)
    await asyncio.to_thread(out.write_bytes, data)
    return len(data)


def _with_length(wav: bytes) -> bytes:
    """A streamed WAV says "length unknown"; a file on disk should know."""
    size = len(wav)
    return (
        wav[:4] + (size - 8).to_bytes(4, "little") + wav[8:40] + (size - 44).to_bytes(4, "little")
        + wav[44:]
    )  # fmt: skip
