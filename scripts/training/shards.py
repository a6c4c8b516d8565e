"""Parquet shards of speech: which columns say what, and rows with bounded memory.

The column names are those of `thivux/phoaudiobook` (`audio`, `text`, `speaker`) and their usual
synonyms. `audio` is the structure that the datasets library writes: `bytes` (a complete audio file)
and `path`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_AUDIO = ("audio",)
_TEXT = ("text", "transcript", "transcription", "sentence")
_SPEAKER = ("speaker", "speaker_id", "speaker_name")
_READ_AHEAD_BYTES = 1 << 20
_ROWS_AT_A_TIME = 8
"""Rows decoded from parquet at a time; a row of phoaudiobook holds a few seconds of audio."""
ONE_SPEAKER = "unknown"
"""Whoever speaks where a data set has no column for it."""


class ShardError(Exception):
    """A shard cannot be read, or has not the columns that are needed; the sentence says why."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Where the three things stand."""

    audio: str
    text: str
    speaker: str | None

    @property
    def names(self) -> list[str]:
        return [name for name in (self.audio, self.text, self.speaker) if name]


@dataclass(frozen=True, slots=True)
class Unit:
    """One row group of one shard: what one process works on at a time."""

    shard: Path
    row_group: int
    first_row: int
    """Its place in the shard."""
    rows: int

    @property
    def name(self) -> str:
        return f"{self.shard.stem}.{self.row_group:05d}"


@dataclass(frozen=True, slots=True)
class Row:
    """One recording as the data set has it."""

    number: int
    """Within the shard."""
    audio: bytes = field(repr=False)
    """A complete file of some format; empty when the data set has none here."""
    text: str
    speaker: str


def find_columns(names: Sequence[str]) -> Columns:
    """Tell from the names of a shard's columns which is which.

    Raises:
        ShardError: no column for the audio or none for the text.
    """
    audio, text = _first(_AUDIO, names), _first(_TEXT, names)
    if audio is None or text is None:
        lacking = " or ".join(_AUDIO if audio is None else _TEXT)
        raise ShardError(f"no column {lacking}; the shard has {', '.join(names) or 'none'}")
    return Columns(audio, text, _first(_SPEAKER, names))


def list_shards(sources: Iterable[Path]) -> list[Path]:
    """Every shard among files and folders, in order.

    Raises:
        ShardError: there is none, or two have the same name (their clips would collide).
    """
    found: dict[str, Path] = {}
    for source in sources:
        for shard in sorted(source.rglob("*.parquet")) if source.is_dir() else [source]:
            other = found.setdefault(shard.stem, shard)
            if other.resolve() != shard.resolve():
                raise ShardError(f"two shards have the same name: {other} and {shard}")
    if not found:
        raise ShardError("no .parquet file there")
    return [found[name] for name in sorted(found)]


def units_of(shard: Path) -> list[Unit]:
    """The row groups of a shard.

    Raises:
        ShardError: it is damaged, or has not the columns that are needed.
    """
    with _open(shard) as opened:
        find_columns(opened.schema_arrow.names)
        units, first = [], 0
        for group in range(opened.num_row_groups):
            rows = opened.metadata.row_group(group).num_rows
            units.append(Unit(shard, group, first, rows))
            first += rows
        return units


def rows_of(unit: Unit) -> Iterator[Row]:
    """The rows of one group, a few in memory at a time.

    Raises:
        ShardError: the shard is damaged.
    """
    import pyarrow

    with _open(unit.shard) as opened:
        columns = find_columns(opened.schema_arrow.names)
        number = unit.first_row
        batches = opened.iter_batches(
            _ROWS_AT_A_TIME, row_groups=[unit.row_group], columns=columns.names, use_threads=False
        )
        try:
            for batch in batches:
                for values in batch.to_pylist():
                    yield _row(number, values, columns)
                    number += 1
        except (pyarrow.ArrowException, OSError) as broken:
            raise ShardError(f"{unit.shard}: {broken}") from None


def _row(number: int, values: dict[str, Any], columns: Columns) -> Row:
    audio = values[columns.audio]
    data = audio.get("bytes") if isinstance(audio, dict) else audio
    speaker = values[columns.speaker] if columns.speaker else ONE_SPEAKER
    return Row(
        number=number,
        audio=data if isinstance(data, bytes) else b"",
        text=str(values[columns.text] or ""),
        speaker=str(ONE_SPEAKER if speaker is None else speaker),
    )


def _open(shard: Path) -> Any:
    import pyarrow
    import pyarrow.parquet

    try:
        return pyarrow.parquet.ParquetFile(shard, buffer_size=_READ_AHEAD_BYTES, pre_buffer=False)
    except (pyarrow.ArrowException, OSError) as broken:
        raise ShardError(f"{shard}: {broken}") from None


def _first(wanted: Sequence[str], names: Sequence[str]) -> str | None:
    return next((name for name in wanted if name in names), None)
