"""A version follows what a voice is made of."""

from pathlib import Path

import pytest

from services.tts.engines.base import EngineUnavailable
from services.tts.engines.versions import version_of


def test_equal_only_for_equal_files_and_settings(tmp_path: Path) -> None:
    one, two, same = (tmp_path / name for name in ("one", "two", "same"))
    one.write_bytes(b"a" * 3_000_000)
    two.write_bytes(b"a" * 2_999_999 + b"b")
    same.write_bytes(one.read_bytes())
    assert version_of([one], 0, 1.5) == version_of([same], 0, 1.5)
    made = [version_of([one]), version_of([two]), version_of([one], 1), version_of([one], "1")]
    assert len(set(made)) == len(made)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match="gone cannot be read"):
        version_of([tmp_path / "gone"])
