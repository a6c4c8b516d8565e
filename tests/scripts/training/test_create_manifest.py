"""Manifests: what NeMo reads, with figures that add up and a picture."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from scripts.training.clips import ClipSettings
from scripts.training.create_manifest import create_manifest
from scripts.training.journal import ClipFolder, Outcome, write_lines
from scripts.training.selection import Limits
from scripts.training.splits import CannotSplit, Shares

SHARES = Shares(0.1, 0.1)


def _clips(root: Path, speakers: int) -> Path:
    folder = ClipFolder(root)
    folder.open(ClipSettings())
    outcomes = [
        Outcome(
            "a",
            n,
            audio=f"audio/a/{n}.flac",
            text=f"Tôi có {n} người bạn",
            speaker=f"s{n % speakers}",
            duration=1.5 + n % 3 / 4,
        )
        for n in range(40)
    ]
    outcomes.append(Outcome("a", 40, "unreadable", "broken", text="hỏng", speaker="s0"))
    outcomes.append(Outcome("a", 41, audio="audio/a/41.flac", text="ừ", speaker="s0", duration=9))
    write_lines(folder.rows / "a.00000.jsonl", map(asdict, outcomes))
    return root


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_manifests_statistics_and_a_picture(tmp_path: Path) -> None:
    clips, out = _clips(tmp_path / "clips", 8), tmp_path / "out"
    create_manifest(clips, out, limits=Limits(), by="speakers", shares=SHARES, seed=1)
    parts = {name: _lines(out / f"{name}.jsonl") for name in ("train", "validation", "test")}
    assert sum(map(len, parts.values())) == 40
    [line] = [
        line for part in parts.values() for line in part if line["text"] == "Tôi có 5 người bạn"
    ]
    assert line["normalized_text"] == "Tôi có năm người bạn"
    assert line["audio_filepath"] == str((clips / "audio/a/5.flac").resolve())
    assert line["duration"] == 2.0
    figures = json.loads((out / "statistics.json").read_text())
    assert {name: part["clips"] for name, part in figures["parts"].items()} == {
        name: len(part) for name, part in parts.items()
    }
    assert figures["left_out"] == {"too_slow": {"clips": 1, "hours": 0.0025}}
    assert (out / "statistics.png").read_bytes().startswith(b"\x89PNG")
    assert _lines(out / "left_out.jsonl")[0]["reason"] == "too_slow"


def test_speakers_of_training_have_the_first_numbers(tmp_path: Path) -> None:
    clips, out = _clips(tmp_path / "clips", 8), tmp_path / "out"
    create_manifest(clips, out, limits=Limits(), by="speakers", shares=SHARES, seed=1)
    trained = {line["speaker"] for line in _lines(out / "train.jsonl")}
    others = {
        line["speaker"] for name in ("validation", "test") for line in _lines(out / f"{name}.jsonl")
    }
    assert trained == set(range(len(trained)))
    assert trained | others == set(json.loads((out / "speakers.json").read_text()).values())
    assert not trained & others


def test_one_voice_is_divided_by_clips(tmp_path: Path) -> None:
    clips, out = _clips(tmp_path / "clips", 1), tmp_path / "out"
    limits = Limits(speakers=frozenset({"s0"}))
    with pytest.raises(CannotSplit):
        create_manifest(clips, out, limits=limits, by="speakers", shares=SHARES, seed=1)
    create_manifest(clips, out, limits=limits, by="clips", shares=SHARES, seed=1)
    assert json.loads((out / "speakers.json").read_text()) == {"s0": 0}
    assert _lines(out / "test.jsonl")
