"""What became of every row, written so that an interrupted run can go on where it was.

A folder of clips:

    settings.json                how the clips were made
    rows/<shard>.<group>.jsonl   one line a row, when all rows of the group are done
    rows/….jsonl.part            the same while they are being worked on
    audio/<shard>/<shard>_<row>.flac
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from scripts.training.clips import ClipSettings
from scripts.training.shards import Unit


class SettingsDiffer(Exception):
    """The folder holds clips that were made in another way."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one row."""

    shard: str
    row: int
    reason: str = ""
    """Why there is no clip; empty when there is one."""
    detail: str = ""
    audio: str = ""
    """The clip's file, relative to the folder."""
    text: str = ""
    """As the data set has it."""
    speaker: str = ""
    duration: float = 0.0
    """Of the clip, seconds."""
    source_s: float = 0.0
    loudness: float = 0.0
    """Of the recording, LUFS."""


class ClipFolder:
    """The folder and the names in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.rows = root / "rows"

    def open(self, settings: ClipSettings) -> None:
        """Make the folder, or make sure that its clips were made with the same settings.

        Raises:
            SettingsDiffer
        """
        self.rows.mkdir(parents=True, exist_ok=True)
        path = self.root / "settings.json"
        if path.exists():
            before = json.loads(path.read_text(encoding="utf-8"))
            if before != asdict(settings):
                raise SettingsDiffer(
                    f"{self.root} was made with {_differences(before, asdict(settings))}; "
                    "use the same settings, or another folder"
                )
        else:
            write_text(path, json.dumps(asdict(settings), indent=2) + "\n")

    def audio(self, unit: Unit, row: int, file_format: str) -> Path:
        """The clip's place. Its stem is unique by itself: caches elsewhere are named after it."""
        shard = unit.shard.stem
        return self.root / "audio" / shard / f"{shard}_{row:07d}.{file_format}"

    def finished(self, unit: Unit) -> bool:
        return self._journal(unit).exists()

    def outcomes(self) -> Iterator[Outcome]:
        """Of all finished groups, in order of shard and row."""
        for path in sorted(self.rows.glob("*.jsonl")):
            yield from _read(path)

    def journal(self, unit: Unit) -> "Journal":
        return Journal(self._journal(unit))

    def _journal(self, unit: Unit) -> Path:
        return self.rows / f"{unit.name}.jsonl"


class Journal:
    """The rows of one group, of which some may be known from an interrupted run."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(path.name + ".part")
        known = list(_read(self._part)) if self._part.exists() else []
        self.known = {outcome.row: outcome for outcome in known}
        self._file: IO[str] = self._part.open("w", encoding="utf-8")
        for outcome in known:  # without the line that was cut off
            self.add(outcome)

    def add(self, outcome: Outcome) -> None:
        self._file.write(json.dumps(asdict(outcome), ensure_ascii=False) + "\n")
        self._file.flush()

    def finish(self) -> None:
        """All rows are there."""
        self._file.close()
        self._part.replace(self._path)

    def close(self) -> None:
        """Leave what is known for the next run."""
        self._file.close()


def write_text(path: Path, text: str) -> None:
    """Write all of a file or nothing."""
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def write_lines(path: Path, items: Iterable[Any]) -> None:
    """Write a JSON Lines file, all or nothing."""
    write_text(path, "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in items))


def _read(path: Path) -> Iterator[Outcome]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            with suppress(ValueError):  # the last line of a killed process
                yield Outcome(**json.loads(line))


def _differences(before: dict[str, Any], now: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} {before.get(name)} instead of {now.get(name)}"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    )
