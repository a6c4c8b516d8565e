"""phoaudiobook's parquet shards → clips: 22.05 kHz mono, one loudness, trimmed to the speech.

python -m scripts.training.prepare_audio_parquet OUT SHARD_OR_FOLDER...

Works on several row groups at a time, each in a process of its own. It may be stopped at any time
and run again: what is done stays done, row by row.
"""

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from scripts.training.clips import ClipSettings, Unusable, make_clip, open_vad, write_clip
from scripts.training.journal import ClipFolder, Outcome, SettingsDiffer, write_lines, write_text
from scripts.training.shards import Row, ShardError, Unit, list_shards, rows_of, units_of
from services.shared.models.errors import ModelError
from services.shared.vad.base import VadModel

_WAITING_PER_PROCESS = 2


@dataclass(frozen=True, slots=True)
class Prepared:
    """Counts of a run, those of earlier runs into the same folder included."""

    clips: int
    hours: float
    source_hours: float
    failures: dict[str, int]
    """By reason."""
    broken: tuple[str, ...]
    """Sentences about shards or groups that could not be read."""


def prepare(
    shards: Sequence[Path],
    out: Path,
    settings: ClipSettings,
    *,
    processes: int,
    progress: Progress | None = None,
) -> Prepared:
    """Make clips of every row of every shard that has none yet.

    Raises:
        SettingsDiffer: the folder holds clips that were made in another way.
        ModelError: the voice activity model is not here.
        BrokenProcessPool: a process was killed; run again to go on.
    """
    folder = ClipFolder(out)
    folder.open(settings)
    open_vad(settings.vad)  # fail now rather than in every process
    units, broken = _all_units(shards)
    task = progress.add_task("rows", total=sum(unit.rows for unit in units)) if progress else None
    waiting = [unit for unit in units if not folder.finished(unit)]
    if progress and task is not None:
        progress.advance(task, sum(unit.rows for unit in units if folder.finished(unit)))
    for unit, problem in _run_all(waiting, out, settings, processes):
        if problem:
            broken.append(problem)
        if progress and task is not None:
            progress.advance(task, unit.rows)
    return _summed_up(folder, broken)


def _all_units(shards: Sequence[Path]) -> tuple[list[Unit], list[str]]:
    units: list[Unit] = []
    broken = []
    for shard in shards:
        try:
            units += units_of(shard)
        except ShardError as problem:
            broken.append(f"{shard.name}: {problem}")
    return units, broken


def _run_all(
    units: Sequence[Unit], out: Path, settings: ClipSettings, processes: int
) -> Iterator[tuple[Unit, str]]:
    """Each unit when it is done, with what was wrong with it."""
    waiting = iter(units)
    running: dict[Future[str], Unit] = {}
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        try:
            while True:
                while len(running) < processes * _WAITING_PER_PROCESS:
                    unit = next(waiting, None)
                    if unit is None:
                        break
                    running[pool.submit(_work_on, unit, out, settings)] = unit
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    yield running.pop(future), future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _work_on(unit: Unit, out: Path, settings: ClipSettings) -> str:
    """Make the clips of one group; in a process of the pool."""
    return make_clips(unit, out, settings, open_vad(settings.vad))


def make_clips(unit: Unit, out: Path, settings: ClipSettings, vad: VadModel) -> str:
    """Make the clips of one group that are not there yet.

    Returns:
        What was wrong with the group as a whole: nothing, or a sentence.
    """
    folder = ClipFolder(out)
    journal = folder.journal(unit)
    try:
        for row in rows_of(unit):
            if row.number not in journal.known:
                path = folder.audio(unit, row.number, settings.file_format)
                journal.add(_outcome(unit, row, path, settings, vad))
    except ShardError as problem:
        return str(problem)
    else:
        journal.finish()
        return ""
    finally:
        journal.close()


def _outcome(unit: Unit, row: Row, path: Path, settings: ClipSettings, vad: VadModel) -> Outcome:
    about = Outcome(unit.shard.stem, row.number, text=row.text, speaker=row.speaker)
    try:
        if not row.text.strip():
            raise Unusable("no_text")
        clip = make_clip(row.audio, settings, vad)
    except Unusable as why:
        return replace(about, reason=why.reason, detail=str(why))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_clip(path, clip.samples, settings)
    return replace(
        about,
        audio=f"audio/{unit.shard.stem}/{path.name}",
        duration=round(len(clip.samples) / settings.sample_rate, 4),
        source_s=round(clip.source_s, 4),
        loudness=round(clip.loudness, 2),
    )


def _summed_up(folder: ClipFolder, broken: Sequence[str]) -> Prepared:
    failures: Counter[str] = Counter()
    failed = []
    clips, seconds, source_s = 0, 0.0, 0.0
    for outcome in folder.outcomes():
        source_s += outcome.source_s
        if outcome.reason:
            failures[outcome.reason] += 1
            failed.append(
                {
                    "shard": outcome.shard,
                    "row": outcome.row,
                    "reason": outcome.reason,
                    "detail": outcome.detail,
                }
            )
        else:
            clips += 1
            seconds += outcome.duration
    write_lines(folder.root / "failures.jsonl", failed)
    found = Prepared(clips, seconds / 3600, source_s / 3600, dict(failures), tuple(broken))
    write_text(folder.root / "summary.json", json.dumps(_plain(found), indent=2) + "\n")
    return found


def _plain(found: Prepared) -> dict[str, object]:
    return {
        "clips": found.clips,
        "hours": round(found.hours, 4),
        "source_hours": round(found.source_hours, 4),
        "failures": found.failures,
        "broken": list(found.broken),
    }


def main(
    out: Annotated[Path, typer.Argument(help="Folder for the clips.")],
    sources: Annotated[list[Path], typer.Argument(exists=True, help="Shards, or folders of them.")],
    sample_rate: Annotated[int, typer.Option(min=8000, max=48_000, help="Hz.")] = 22_050,
    loudness: Annotated[float, typer.Option(max=-9, help="LUFS.")] = -23.0,
    margin_ms: Annotated[int, typer.Option(min=0, help="Kept around the speech.")] = 120,
    file_format: Annotated[Literal["flac", "wav"], typer.Option("--format")] = "flac",
    vad: Annotated[Literal["silero", "energy"], typer.Option()] = "silero",
    processes: Annotated[int, typer.Option(min=1, help="Default: one a core.")] = (
        os.cpu_count() or 1
    ),
) -> None:
    """Make clips of parquet shards. Run it again to go on after an interruption."""
    console = Console(stderr=True)
    settings = ClipSettings(
        sample_rate=sample_rate,
        loudness=loudness,
        margin_ms=margin_ms,
        file_format=file_format,
        vad=vad,
    )
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        with Progress("{task.description}", *columns, console=console) as progress:
            found = prepare(
                list_shards(sources), out, settings, processes=processes, progress=progress
            )
    except (ShardError, SettingsDiffer, ModelError) as problem:
        console.print(f"[red]{problem}[/]")
        raise typer.Exit(1) from None
    except BrokenProcessPool:
        console.print("[red]A process was killed (memory?). Run again to go on; use fewer.[/]")
        raise typer.Exit(1) from None
    _tell(console, found, out)


def _tell(console: Console, found: Prepared, out: Path) -> None:
    console.print(
        f"{found.clips} clips, {found.hours:.2f} h of {found.source_hours:.2f} h, in {out}"
    )
    for reason, count in sorted(found.failures.items()):
        console.print(f"  {count} rows without a clip: {reason} (see failures.jsonl)")
    for problem in found.broken:
        console.print(f"[red]  {problem}[/]")
    if found.broken:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
