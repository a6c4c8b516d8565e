"""`voice demo`: the whole way once, on a real recording, with figures.

Speech → ASR at the pace of speech → text → TTS → speech → ASR again.
"""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from services.bench.wer import Scorer
from services.cli.demo_legs import Heard, Spoken, heard_again, listen, speak
from services.cli.failures import CommandFailed, run
from services.cli.models import download_with_progress
from services.cli.processes import ServiceProcess, running
from services.shared.models.store import ModelStatus, ModelStore

app = typer.Typer(add_completion=False)

RECORDING = Path(__file__).parent / "recordings" / "jfk.flac"
REFERENCE = (
    "And so my fellow Americans, ask not what your country can do for you, "
    "ask what you can do for your country."
)
_WORST_WER = 0.2


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Where the spoken transcript goes.")] = Path(
        "demo-out/demo.wav"
    ),
) -> None:
    """Fetch the models, start both services, listen, speak, listen again, and tell how it went."""
    run(_demo(out))


async def _demo(out: Path) -> None:
    console = Console()
    store = ModelStore()
    wanted = list(store.catalogue.default_ids)
    if any(store.status(model) is not ModelStatus.PRESENT for model in wanted):
        await asyncio.to_thread(download_with_progress, store, wanted)
    for model in wanted:
        await asyncio.to_thread(store.verify, model)
    asr, tts = ServiceProcess("asr"), ServiceProcess("tts")
    console.print("Starting both services …", style="dim")
    async with running(asr, tts):
        console.print("Listening to a recording at the pace of speech:", style="dim")
        heard = await listen(asr.ws_url, RECORDING, console)
        console.print("Speaking the transcript …", style="dim")
        spoken = await speak(tts.ws_url, heard.text)
        await asyncio.to_thread(_write, out, spoken.wav)
        console.print("Listening to what was spoken …", style="dim")
        again = await heard_again(asr.http_url, out)
        memory = (resident_mb(asr.pid), resident_mb(tts.pid))
    _report(console, heard, spoken, again.text, (asr, tts), memory, out)


def _report(
    console: Console,
    heard: Heard,
    spoken: Spoken,
    again: str,
    services: tuple[ServiceProcess, ServiceProcess],
    memory: tuple[float, float],
    out: Path,
) -> None:
    scorer = Scorer()
    first = scorer.score(REFERENCE, heard.text, "en")
    second = scorer.score(heard.text, again, "en")
    asr, tts = services
    table = Table(title="What was measured", show_header=False, title_justify="left")
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("heard", heard.text)
    table.add_row("word error rate", f"{first.rate:.1%} ({first.errors} of {first.words} words)")
    table.add_row("first partial", f"{heard.first_partial_ms:.0f} ms after the first sound")
    table.add_row("end of speech → final", f"{heard.final_ms:.0f} ms (last turn)")
    table.add_row("recognising, real-time factor", f"{heard.real_time_factor:.3f}")
    table.add_row("spoken to", f"{out} ({spoken.audio_s:.1f} s)")
    table.add_row("first audio", f"{spoken.first_audio_ms:.0f} ms after the text was sent")
    table.add_row("speaking, real-time factor", f"{spoken.real_time_factor:.3f}")
    table.add_row("heard again", again)
    table.add_row("round trip word error rate", f"{second.rate:.1%} ({second.errors} words)")
    table.add_row("start to ready", f"asr {asr.startup_s:.1f} s, tts {tts.startup_s:.1f} s")
    table.add_row("resident memory", f"asr {memory[0]:.0f} MB, tts {memory[1]:.0f} MB")
    console.print(table)
    if first.rate > _WORST_WER:
        raise CommandFailed(f"the transcript is wrong in {first.rate:.0%} of its words")
    if second.rate > _WORST_WER:
        raise CommandFailed(f"the spoken transcript was misheard in {second.rate:.0%} of its words")


def resident_mb(pid: int | None) -> float:
    """Resident memory of a process in MB."""
    import psutil

    return float(psutil.Process(pid).memory_info().rss) / 1e6


def _write(out: Path, wav: bytes) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(wav)
