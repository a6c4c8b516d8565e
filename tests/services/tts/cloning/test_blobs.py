"""Objects in folders and buckets: whole or not at all, and never outside."""

import os
import threading
from pathlib import Path

import pytest

from services.tts.cloning.blobs import BlobError, BlobMissing, Blobs, FolderBlobs, open_blobs


@pytest.fixture(params=["folder", "file url", "memory url"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    location = {
        "folder": str(tmp_path / "voices"),
        "file url": f"file://{tmp_path}/voices",
        "memory url": "memory://",
    }
    return open_blobs(location[request.param])


def test_what_was_put_can_be_read_listed_and_deleted(blobs: Blobs) -> None:
    blobs.put("voices/a/x.json", b"1")
    blobs.put("voices/a/y.flac", b"22")
    blobs.put("voices/a/x.json", b"333")
    blobs.put("deleted/a.json", b"4")
    assert blobs.get("voices/a/x.json") == b"333"
    assert blobs.exists("voices/a/x.json")
    assert sorted(blob.name for blob in blobs.list("voices")) == [
        "voices/a/x.json",
        "voices/a/y.flac",
    ]
    assert [blob.name for blob in blobs.list("voices/a")].count("voices/a/y.flac") == 1
    for name in ("voices/a/x.json", "voices/a/x.json", "voices/a/y.flac"):
        blobs.delete(name)
    assert blobs.list("voices") == []
    assert not blobs.exists("voices/a/x.json")
    with pytest.raises(BlobMissing):
        blobs.get("voices/a/x.json")


@pytest.mark.parametrize(
    "name",
    ["../x", "voices/../../x", "/etc/passwd", "voices/a/../b", "x", "", "voices/.a", "a\\b/c"],
)
def test_no_name_leads_out(blobs: Blobs, name: str) -> None:
    for act in (blobs.get, blobs.exists, blobs.delete, lambda each: blobs.put(each, b"")):
        with pytest.raises(BlobError):
            act(name)


def test_a_write_that_fails_leaves_the_old_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = FolderBlobs(tmp_path)
    blobs.put("voices/a/x.json", b"old")

    def broken(_: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(BlobError, match="no space left"):
        blobs.put("voices/a/x.json", b"new")
    assert blobs.get("voices/a/x.json") == b"old"
    assert list((tmp_path / ".parts").iterdir()) == []


def test_writes_that_were_killed_are_swept_when_they_are_old(tmp_path: Path) -> None:
    FolderBlobs(tmp_path)
    old, young = tmp_path / ".parts" / "old", tmp_path / ".parts" / "young"
    for part in (old, young):
        part.write_bytes(b"half")
    os.utime(old, (0, 0))
    blobs = FolderBlobs(tmp_path)
    assert (old.exists(), young.exists()) == (False, True)
    assert blobs.list("voices") == []


def test_a_folder_that_another_instance_empties_is_made_again(tmp_path: Path) -> None:
    """One writes into a folder while another deletes the last object in it."""
    one, other = FolderBlobs(tmp_path), FolderBlobs(tmp_path)

    def delete() -> None:
        for _ in range(200):
            other.delete("voices/a/x.json")

    thread = threading.Thread(target=delete)
    thread.start()
    for _ in range(50):
        one.put("voices/a/x.json", b"1")
    thread.join()
    one.put("voices/a/x.json", b"2")
    assert other.get("voices/a/x.json") == b"2"


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BlobError, match="file"):
        FolderBlobs(tmp_path / "file" / "voices")
    with pytest.raises(BlobError, match="nowhere"):
        open_blobs("nowhere://bucket")
