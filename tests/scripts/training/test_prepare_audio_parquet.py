"""Preparing: resumable row by row, failures listed, a damaged shard does not stop the others."""

import json
from pathlib import Path

import pytest

from scripts.training.clips import ClipSettings
from scripts.training.journal import ClipFolder, SettingsDiffer
from scripts.training.prepare_audio_parquet import make_clips, prepare
from scripts.training.shards import Unit, units_of
from services.shared.audio.pcm import Floats
from services.shared.vad.energy import EnergyVad
from tests.scripts.training.speakers import write_shard
from tests.scripts.training.tones import recording

SETTINGS = ClipSettings(vad="energy")


class KilledAfter(EnergyVad):
    """Ends the process, as it were, in the middle of the n-th recording."""

    def __init__(self, recordings: int) -> None:
        self.left = recordings
        self.asked = 0

    def new_state(self) -> Floats:
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        self.asked += 1
        return super().new_state()


def _unit(folder: Path) -> Unit:
    path = folder / "shard.parquet"
    rows = [(recording(0.5, 1.0 + n / 10, 0.5), f"câu {n}", "Lan") for n in range(4)]
    rows[1] = (b"junk", "hỏng", "Lan")
    rows.append((recording(0, 1, 0), "  ", "Lan"))
    write_shard(path, rows, row_group=10)
    [unit] = units_of(path)
    return unit


def test_every_row_has_an_outcome(tmp_path: Path) -> None:
    unit, folder = _unit(tmp_path), ClipFolder(tmp_path / "out")
    folder.open(SETTINGS)
    assert make_clips(unit, folder.root, SETTINGS, EnergyVad()) == ""
    outcomes = list(folder.outcomes())
    assert [outcome.row for outcome in outcomes] == [0, 1, 2, 3, 4]
    assert [outcome.reason for outcome in outcomes] == ["", "unreadable", "", "", "no_text"]
    assert outcomes[2].duration == pytest.approx(1.2 + 0.24, abs=0.07)
    assert outcomes[2].text == "câu 2"
    for outcome in outcomes:
        assert (folder.root / outcome.audio).is_file() == (not outcome.reason)


def test_an_interrupted_group_goes_on_where_it_was(tmp_path: Path) -> None:
    unit, folder = _unit(tmp_path), ClipFolder(tmp_path / "out")
    folder.open(SETTINGS)
    with pytest.raises(KeyboardInterrupt):
        make_clips(unit, folder.root, SETTINGS, KilledAfter(2))
    assert not folder.finished(unit)
    assert list(folder.outcomes()) == []
    part = folder.rows / f"{unit.name}.jsonl.part"
    part.write_text(part.read_text() + '{"shard": "shard", "ro')  # killed while it wrote
    resumed = KilledAfter(100)
    assert make_clips(unit, folder.root, SETTINGS, resumed) == ""
    assert resumed.asked == 1  # rows 0 and 2 were known, 1 and 4 are not heard
    assert [outcome.row for outcome in folder.outcomes()] == [0, 1, 2, 3, 4]


def test_a_group_cut_off_in_the_shard_is_told_and_not_finished(tmp_path: Path) -> None:
    unit, folder = _unit(tmp_path), ClipFolder(tmp_path / "out")
    folder.open(SETTINGS)
    data = bytearray(unit.shard.read_bytes())
    data[100:4000] = bytes(3900)
    unit.shard.write_bytes(bytes(data))
    assert "shard.parquet" in make_clips(unit, folder.root, SETTINGS, EnergyVad())
    assert not folder.finished(unit)


def test_other_settings_are_refused(tmp_path: Path) -> None:
    ClipFolder(tmp_path / "out").open(SETTINGS)
    ClipFolder(tmp_path / "out").open(SETTINGS)
    with pytest.raises(SettingsDiffer, match="loudness -23.0 instead of -18"):
        ClipFolder(tmp_path / "out").open(ClipSettings(vad="energy", loudness=-18))


@pytest.mark.slow
def test_a_whole_run_in_processes_of_its_own(tmp_path: Path) -> None:
    unit = _unit(tmp_path)
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(b"none")
    found = prepare([damaged, unit.shard], tmp_path / "out", SETTINGS, processes=1)
    assert found.clips == 3
    assert found.failures == {"unreadable": 1, "no_text": 1}
    assert "damaged.parquet" in found.broken[0]
    failures = (tmp_path / "out/failures.jsonl").read_text().splitlines()
    assert json.loads(failures[0])["shard"] == "shard"
    assert json.loads((tmp_path / "out/summary.json").read_text())["clips"] == 3
    again = prepare([unit.shard], tmp_path / "out", SETTINGS, processes=1)
    assert (again.clips, again.broken) == (3, ())
