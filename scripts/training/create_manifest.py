"""Clips → NeMo manifests: texts in words, bad clips left out, train/validation/test.

python -m scripts.training.create_manifest CLIPS OUT

Writes `train.jsonl`, `validation.jsonl`, `test.jsonl`, `speakers.json` (name → number),
`left_out.jsonl`, `statistics.json` and `statistics.png` into OUT.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

from scripts.training.journal import ClipFolder, write_lines, write_text
from scripts.training.manifest_report import draw, statistics
from scripts.training.selection import Limits, Utterance, select
from scripts.training.splits import By, CannotSplit, Shares, Split, split
from scripts.training.texts import TrainingReader


def create_manifest(
    clips: Path, out: Path, *, limits: Limits, by: By, shares: Shares, seed: int
) -> dict[str, Any]:
    """Write the manifests of a folder of clips; gives their statistics.

    Raises:
        CannotSplit: too few speakers or clips are left.
    """
    kept, left_out = select(utterances_of(clips), limits)
    found = split(kept, by, shares, seed)
    speakers = number_speakers(found)
    out.mkdir(parents=True, exist_ok=True)
    for name, part in found.parts().items():
        lines = (manifest_line(one, clips.resolve(), speakers) for one in part)
        write_lines(out / f"{name}.jsonl", lines)
    write_lines(out / "left_out.jsonl", map(_reasoned, left_out))
    write_text(out / "speakers.json", json.dumps(speakers, ensure_ascii=False, indent=2) + "\n")
    figures = statistics(found, left_out) | {"split_by": by, "seed": seed}
    text = json.dumps(figures, ensure_ascii=False, indent=2)
    write_text(out / "statistics.json", text + "\n")
    draw(found, left_out, out / "statistics.png")
    return figures


def utterances_of(clips: Path) -> Iterator[Utterance]:
    """Every clip with its texts."""
    reader = TrainingReader()
    for outcome in ClipFolder(clips).outcomes():
        if not outcome.reason:
            written, spoken = reader.read(outcome.text)
            yield Utterance(outcome.audio, written, spoken, outcome.speaker, outcome.duration)


def number_speakers(found: Split) -> dict[str, int]:
    """Speakers of the training part first, so that all rows of the model's table are trained."""
    names = (sorted({one.speaker for one in part}) for part in found.parts().values())
    ordered = dict.fromkeys(name for part in names for name in part)
    return {name: number for number, name in enumerate(ordered)}


def manifest_line(one: Utterance, folder: Path, speakers: dict[str, int]) -> dict[str, Any]:
    """As NeMo's `TTSDataset` reads it."""
    return {
        "audio_filepath": str(folder / one.audio),
        "text": one.text,
        "normalized_text": one.spoken,
        "duration": one.duration,
        "speaker": speakers[one.speaker],
    }


def _reasoned(left_out: tuple[Utterance, str]) -> dict[str, Any]:
    one, reason = left_out
    return {"audio": one.audio, "reason": reason, "duration": one.duration, "text": one.spoken}


def main(
    clips: Annotated[Path, typer.Argument(exists=True, help="What prepare_audio_parquet made.")],
    out: Annotated[Path, typer.Argument(help="Folder for the manifests.")],
    by: Annotated[
        Literal["speakers", "clips"],
        typer.Option(help="What is kept together: speakers, or each clip by itself."),
    ] = "speakers",
    speaker: Annotated[list[str] | None, typer.Option(help="Only this one; repeatable.")] = None,
    min_s: Annotated[float, typer.Option()] = 0.5,
    max_s: Annotated[float, typer.Option()] = 15.0,
    min_rate: Annotated[float, typer.Option(help="Letters a second.")] = 4.0,
    max_rate: Annotated[float, typer.Option(help="Letters a second.")] = 25.0,
    validation: Annotated[float, typer.Option(help="Share of the hours.")] = 0.02,
    test: Annotated[float, typer.Option(help="Share of the hours.")] = 0.02,
    seed: Annotated[int, typer.Option()] = 1,
) -> None:
    """Write manifests for training."""
    console = Console(stderr=True)
    limits = Limits(min_s, max_s, min_rate, max_rate, frozenset(speaker or ()))
    try:
        shares = Shares(validation, test)
        figures = create_manifest(clips, out, limits=limits, by=by, shares=shares, seed=seed)
    except (CannotSplit, ValueError) as problem:
        console.print(f"[red]{problem}[/]")
        raise typer.Exit(1) from None
    console.print(_table(figures), f"Statistics: {out / 'statistics.png'}")


def _table(figures: dict[str, Any]) -> Table:
    table = Table()
    columns: Sequence[str] = ("clips", "hours", "speakers")
    for name in ("part", *columns):
        table.add_column(name)
    for name, part in figures["parts"].items():
        table.add_row(name, *(str(part[column]) for column in columns))
    for reason, found in figures["left_out"].items():
        table.add_row(f"left out: {reason}", str(found["clips"]), str(found["hours"]), "")
    return table


if __name__ == "__main__":
    typer.run(main)
