"""The folder of models on this machine: what is there, whether it is whole, and where it lies.

Layout: `<root>/<model id>/<file>…` and beside the files a manifest that says which pinned bytes
were verified when they were put there. The quick check compares manifest and sizes and costs
nothing; `verify` hashes every byte.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from services.shared.models.catalogue import (
    Catalogue,
    ModelEntry,
    ModelFile,
    Sha256,
    load_catalogue,
)
from services.shared.models.errors import (
    ModelCorrupt,
    ModelError,
    ModelMissing,
    ModelUnreadable,
)

MANIFEST = ".manifest.json"
_CHUNK = 1 << 20

BytesDone = Callable[[int], None]
"""Told how many more bytes were dealt with since the last call."""


class ModelStatus(StrEnum):
    MISSING = "missing"
    PRESENT = "present"
    CORRUPT = "corrupt"


class Manifest(BaseModel):
    """What was verified, by file path. Written last, so that it vouches for the whole folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    files: dict[str, Sha256]

    @classmethod
    def of(cls, entry: ModelEntry) -> "Manifest":
        return cls(model=entry.id, files={file.path: file.sha256 for file in entry.files})


def default_root(environ: Mapping[str, str] = os.environ) -> Path:
    """`$VOICE_MODELS_DIR`, or `voice-services/models` in the user's cache folder."""
    if chosen := environ.get("VOICE_MODELS_DIR"):
        return Path(chosen).expanduser()
    cache = environ.get("XDG_CACHE_HOME", "")
    # The XDG specification has relative paths ignored.
    base = Path(cache) if os.path.isabs(cache) else Path.home() / ".cache"
    return base / "voice-services" / "models"


class ModelStore:
    """Finds, checks and removes models under `root`. Downloading is :mod:`.download`'s."""

    def __init__(self, root: Path | None = None, catalogue: Catalogue | None = None) -> None:
        self.root = default_root() if root is None else root
        self.catalogue = load_catalogue() if catalogue is None else catalogue

    def path(self, model_id: str) -> Path:
        """The model's folder, whether it is there or not. Raises UnknownModel."""
        return self.root / self.catalogue.get(model_id).id

    def status(self, model_id: str) -> ModelStatus:
        """Quick check by manifest and sizes. Raises UnknownModel."""
        if not self.path(model_id).is_dir():
            return ModelStatus.MISSING
        return ModelStatus.CORRUPT if self._problem(model_id) else ModelStatus.PRESENT

    def require(self, model_id: str) -> Path:
        """The folder of a model that is there, by the quick check.

        Raises:
            UnknownModel, ModelMissing, ModelCorrupt, ModelUnreadable: one sentence that says what
                to run.
        """
        folder = self.path(model_id)
        try:
            if not folder.is_dir():
                raise ModelMissing(model_id, self.root)
            self._open_all(model_id)
            if problem := self._problem(model_id):
                raise ModelCorrupt(model_id, problem)
        except PermissionError as error:
            raise ModelUnreadable(model_id, error.filename) from None
        return folder

    def verify(self, model_id: str, on_bytes: BytesDone | None = None) -> None:
        """Hash every file against the catalogue, and record the result for the quick check.

        A folder that was filled by hand becomes valid by this.

        Raises:
            UnknownModel, ModelMissing, ModelCorrupt
        """
        entry, folder = self.catalogue.get(model_id), self.path(model_id)
        if not folder.is_dir():
            raise ModelMissing(model_id, self.root)
        for file in entry.files:
            if problem := self._difference(folder, file, on_bytes):
                self._forget(folder)
                raise ModelCorrupt(model_id, problem)
        if self._read_manifest(folder) != Manifest.of(entry):
            with suppress(OSError):  # A read-only folder: the caller has its answer all the same.
                write_manifest(folder, entry)

    def remove(self, model_id: str) -> bool:
        """Delete a model's folder. False when there was none. Raises UnknownModel."""
        folder = self.path(model_id)
        if not folder.is_dir():
            return False
        try:
            # The manifest goes first: a removal that is cut short leaves no model that looks whole.
            (folder / MANIFEST).unlink(missing_ok=True)
            shutil.rmtree(folder)
        except OSError as error:
            raise ModelError(f"model {model_id} cannot be removed: {error}") from error
        return True

    def _open_all(self, model_id: str) -> None:
        """Raises PermissionError; what is not there is another problem."""
        folder = self.path(model_id)
        for name in (MANIFEST, *(file.path for file in self.catalogue.get(model_id).files)):
            with suppress(FileNotFoundError), (folder / name).open("rb"):
                pass

    def _problem(self, model_id: str) -> str | None:
        entry, folder = self.catalogue.get(model_id), self.path(model_id)
        for file in entry.files:
            if problem := _size_problem(folder, file):
                return problem
        manifest = self._read_manifest(folder)
        if manifest is None:
            return "its files were never verified"
        if manifest != Manifest.of(entry):
            return "the catalogue pins another version of it"
        return None

    @staticmethod
    def _difference(folder: Path, file: ModelFile, on_bytes: BytesDone | None) -> str | None:
        if problem := _size_problem(folder, file):
            return problem
        try:
            digest = sha256_of(folder / file.path, on_bytes)
        except OSError as error:
            return f"{file.path} cannot be read: {error.strerror}"
        return None if digest == file.sha256 else f"{file.path} has the wrong sha256 {digest[:12]}…"

    @staticmethod
    def _read_manifest(folder: Path) -> Manifest | None:
        try:
            return Manifest.model_validate_json((folder / MANIFEST).read_bytes())
        except (OSError, ValidationError):
            return None

    @staticmethod
    def _forget(folder: Path) -> None:
        with suppress(OSError):  # A read-only folder: the caller hears of the damage all the same.
            (folder / MANIFEST).unlink(missing_ok=True)


def write_manifest(folder: Path, entry: ModelEntry) -> None:
    """Record that every file in `folder` has been verified. Raises OSError."""
    staged = folder / f"{MANIFEST}.{os.getpid()}"
    staged.write_text(Manifest.of(entry).model_dump_json(indent=2) + "\n", encoding="utf-8")
    staged.replace(folder / MANIFEST)


def sha256_of(path: Path, on_bytes: BytesDone | None = None) -> str:
    """The sha256 of a file, hexadecimal, read in bounded chunks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            if on_bytes is not None:
                on_bytes(len(chunk))
    return digest.hexdigest()


def _size_problem(folder: Path, file: ModelFile) -> str | None:
    path = folder / file.path
    if not path.is_file():
        return f"{file.path} is missing"
    size = path.stat().st_size
    return None if size == file.size else f"{file.path} has {size} of {file.size} bytes"
