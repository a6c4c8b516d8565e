"""Shards: columns are found by name, rows come in order, damage is told in a sentence."""

from pathlib import Path

import pytest

from scripts.training.shards import (
    ONE_SPEAKER,
    ShardError,
    find_columns,
    list_shards,
    rows_of,
    units_of,
)
from tests.scripts.training.speakers import write_shard


def test_columns_of_phoaudiobook_and_of_others() -> None:
    ours = find_columns(["audio", "text", "speaker"])
    assert (ours.audio, ours.text, ours.speaker) == ("audio", "text", "speaker")
    other = find_columns(["id", "transcription", "audio"])
    assert (other.text, other.speaker) == ("transcription", None)
    assert other.names == ["audio", "transcription"]


def test_missing_columns_are_named() -> None:
    with pytest.raises(ShardError, match="no column audio; the shard has text, wav"):
        find_columns(["text", "wav"])


def test_rows_come_in_order_group_by_group(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_shard(path, [(bytes([n]), f"câu {n}", "Lan") for n in range(11)], row_group=4)
    units = units_of(path)
    assert [(unit.name, unit.first_row, unit.rows) for unit in units] == [
        ("a.00000", 0, 4),
        ("a.00001", 4, 4),
        ("a.00002", 8, 3),
    ]
    rows = [row for unit in units for row in rows_of(unit)]
    assert [row.number for row in rows] == list(range(11))
    assert [row.audio for row in rows] == [bytes([n]) for n in range(11)]
    assert rows[10].text == "câu 10"
    assert {row.speaker for row in rows} == {"Lan"}


def test_a_group_longer_than_what_is_read_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_shard(path, [(b"x", str(n), "Lan") for n in range(21)], row_group=100)
    [unit] = units_of(path)
    assert [row.text for row in rows_of(unit)] == [str(n) for n in range(21)]


def test_a_damaged_shard_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1 this is none")
    with pytest.raises(ShardError, match=r"a\.parquet"):
        units_of(path)


def test_shards_of_a_folder_in_order_and_of_one_name_refused(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    for name in ("one/b", "one/a", "two/a"):
        write_shard(tmp_path / f"{name}.parquet", [(b"x", "a", "b")])
    assert [shard.stem for shard in list_shards([tmp_path / "one"])] == ["a", "b"]
    with pytest.raises(ShardError, match="two shards have the same name"):
        list_shards([tmp_path])
    with pytest.raises(ShardError, match="no .parquet file"):
        list_shards([])


def test_without_a_speaker_column_all_is_one_speaker(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    path = tmp_path / "a.parquet"
    table = pyarrow.table({"audio": [b"whole file"], "text": [None]})
    pyarrow.parquet.write_table(table, path)
    [row] = [row for unit in units_of(path) for row in rows_of(unit)]
    assert (row.speaker, row.text, row.audio) == (ONE_SPEAKER, "", b"whole file")
