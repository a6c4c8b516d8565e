from pathlib import Path

import pytest

from services.shared.models.errors import DownloadCode, DownloadError
from services.shared.models.lock import exclusive


def test_a_held_lock_is_waited_for_only_so_long(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with (
        exclusive(path, wait_s=0),
        pytest.raises(DownloadError, match="another process") as caught,
        exclusive(path, wait_s=0.15),
    ):
        raise AssertionError("two holders of one lock")

    assert caught.value.code is DownloadCode.BUSY


def test_a_lock_is_free_again_after_use_and_after_an_error(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with pytest.raises(KeyError), exclusive(path, wait_s=0):
        raise KeyError
    entered = False
    with exclusive(path, wait_s=0):
        entered = True
    assert entered
