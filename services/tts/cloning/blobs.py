"""Where cloned voices lie: a folder or a bucket, shared by every instance of the service.

Whole objects under names with slashes; a write is there whole or not at all. All of it blocks: for
a thread.
"""

import os
import random
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_NAME = re.compile(r"[a-z0-9_]+(/[a-z0-9_][a-z0-9_.-]*)+")
_PARTS = ".parts"
_ATTEMPTS = 20
"""At a folder that another instance deletes while it is empty."""
_STEP_ASIDE_S = 0.002
_STALE_S = 3600.0
"""A write that has been under way for so long was killed."""
_REQUEST_S = 10
"""Longest request to an object store, retries apart."""
_RETRY_S = 15
MAX_BYTES = 64 << 20
"""Largest object that is read."""


class BlobError(Exception):
    """The store cannot be read or written; the sentence is for the operator."""


class BlobMissing(BlobError):
    """There is no such object."""


class Blob(NamedTuple):
    """An object as a listing tells of it."""

    name: str
    modified: float
    """Seconds since the epoch, by the store's clock."""


class Blobs(Protocol):
    """Objects by name. Every method raises BlobError."""

    def put(self, name: str, data: bytes) -> None:
        """Write or replace; afterwards every instance reads it."""
        ...

    def get(self, name: str) -> bytes:
        """Raises BlobMissing."""
        ...

    def exists(self, name: str) -> bool: ...

    def delete(self, name: str) -> None:
        """One that is not there is no error."""
        ...

    def list(self, folder: str) -> list[Blob]:
        """All objects whose names begin with `folder` and a slash."""
        ...


def open_blobs(location: str) -> Blobs:
    """A store by its folder, or by its URL: `file://`, `s3://`, `gs://`, `az://`, `memory://` …

    Credentials of buckets come from the environment, as their vendors' tools have it.

    Raises:
        BlobError: nothing can be there.
    """
    if location.startswith("file://"):
        location = location.removeprefix("file://")
    if "://" not in location:
        return FolderBlobs(Path(location).expanduser())
    try:
        from obstore.store import from_url
    except ImportError:
        raise BlobError("voices.store is a URL, which needs the dependency group 'tts'") from None
    options: dict[str, Any] = {}
    if not location.startswith("memory://"):
        options["client_options"] = {"timeout": f"{_REQUEST_S}s", "allow_http": True}
        options["retry_config"] = {"retry_timeout": timedelta(seconds=_RETRY_S), "max_retries": 3}
    with _told(location):
        return ObjectBlobs(from_url(location, **options))


class FolderBlobs:
    """Files of a folder: written beside, synced and renamed, so that a crash leaves no half one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._parts = folder / _PARTS
        with _told(str(folder)):
            self._parts.mkdir(parents=True, exist_ok=True)
            for part in self._parts.iterdir():
                if time.time() - part.stat().st_mtime > _STALE_S:
                    part.unlink(missing_ok=True)

    def put(self, name: str, data: bytes) -> None:
        path = self._path(name)
        with _told(name):
            descriptor, part = tempfile.mkstemp(dir=self._parts)
            try:
                with os.fdopen(descriptor, "wb") as out:
                    out.write(data)
                    out.flush()
                    os.fsync(out.fileno())
                self._rename(Path(part), path)
            except BaseException:
                Path(part).unlink(missing_ok=True)
                raise
            _sync_folder(path.parent)

    def _rename(self, part: Path, path: Path) -> None:
        for attempt in range(_ATTEMPTS):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                part.replace(path)
                return
            except (FileNotFoundError, FileExistsError):
                # Another instance removed the folder, which was empty, before or after the look.
                if attempt == _ATTEMPTS - 1:
                    raise
                time.sleep(random.uniform(0, _STEP_ASIDE_S) * attempt)  # not in step with the other

    def get(self, name: str) -> bytes:
        path = self._path(name)
        with _told(name):
            if path.stat().st_size > MAX_BYTES:
                raise BlobError(f"{name} is larger than {MAX_BYTES} bytes")
            return path.read_bytes()

    def exists(self, name: str) -> bool:
        with _told(name):
            return self._path(name).is_file()

    def delete(self, name: str) -> None:
        path = self._path(name)
        with _told(name):
            path.unlink(missing_ok=True)
        with suppress(OSError):  # it may hold more
            path.parent.rmdir()

    def list(self, folder: str) -> list[Blob]:
        found = []
        with _told(folder):
            for path in (self._folder / folder).rglob("*"):
                try:
                    if path.is_file():
                        name = path.relative_to(self._folder).as_posix()
                        found.append(Blob(name, path.stat().st_mtime))
                except FileNotFoundError:
                    continue  # deleted meanwhile
        return found

    def _path(self, name: str) -> Path:
        return self._folder / _checked(name)


class ObjectBlobs:
    """An object store, by way of obstore."""

    def __init__(self, store: "ObjectStore") -> None:
        self._store = store

    def put(self, name: str, data: bytes) -> None:
        import obstore

        with _told(name):
            obstore.put(self._store, _checked(name), data)

    def get(self, name: str) -> bytes:
        import obstore

        with _told(name):
            found = obstore.get(self._store, _checked(name))
            if found.meta["size"] > MAX_BYTES:
                raise BlobError(f"{name} is larger than {MAX_BYTES} bytes")
            return bytes(found.bytes())

    def exists(self, name: str) -> bool:
        import obstore

        try:
            with _told(name):
                obstore.head(self._store, _checked(name))
        except BlobMissing:
            return False
        return True

    def delete(self, name: str) -> None:
        import obstore

        with suppress(BlobMissing), _told(name):
            obstore.delete(self._store, _checked(name))

    def list(self, folder: str) -> list[Blob]:
        import obstore

        with _told(folder):
            return [
                Blob(each["path"], each["last_modified"].timestamp())
                for batch in obstore.list(self._store, folder)
                for each in batch
            ]


def _checked(name: str) -> str:
    """Names are made by us; this is the second lock on the door."""
    if not _NAME.fullmatch(name) or ".." in name:
        raise BlobError(f"{name!r:.100} is no name of an object")
    return name


def _sync_folder(folder: Path) -> None:
    """Make a rename last through a power failure, where the file system can."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    with suppress(OSError):
        os.fsync(descriptor)
    os.close(descriptor)


@contextmanager
def _told(name: str) -> Iterator[None]:
    """One exception for what folders and buckets may raise."""
    try:
        yield
    except BlobError:
        raise
    except FileNotFoundError:
        raise BlobMissing(f"{name} is not in the voice store") from None
    except Exception as error:  # obstore's own, for which there is no common base but this
        sentence = f"the voice store failed on {name}: {error!s:.300}"
        raise BlobError(sentence) from error
