"""What can go wrong with models on disk, as one tree under one root.

    ModelError
    ├── UnknownModel      an id that the catalogue does not have
    ├── ModelMissing      never downloaded
    ├── ModelCorrupt      there, but not what the catalogue says
    ├── ModelUnreadable   there, but this user may not read it
    └── DownloadError     could not be fetched; `code` says why

Each formats itself as one sentence that says what to do.
"""

from collections.abc import Iterable
from enum import StrEnum


def download_hint(model_id: str) -> str:
    """The command that mends a missing or damaged model."""
    return f"`uv run voice models download {model_id}`"


class ModelError(Exception):
    """Root of everything this package raises on purpose."""


class UnknownModel(ModelError):
    def __init__(self, model_id: str, known: Iterable[str]) -> None:
        super().__init__(f"there is no model {model_id!r}; known are {', '.join(sorted(known))}")
        self.model_id = model_id


class ModelMissing(ModelError):
    def __init__(self, model_id: str, folder: object) -> None:
        super().__init__(
            f"model {model_id} is not in {folder}; fetch it with {download_hint(model_id)}"
        )
        self.model_id = model_id


class ModelCorrupt(ModelError):
    def __init__(self, model_id: str, problem: str) -> None:
        super().__init__(
            f"model {model_id} is damaged ({problem}); mend it with {download_hint(model_id)}"
        )
        self.model_id = model_id
        self.problem = problem


class ModelUnreadable(ModelError):
    def __init__(self, model_id: str, path: object) -> None:
        super().__init__(
            f"model {model_id} is there, but this process may not read {path}; as the owner of the "
            "files, `chmod -R go+rX` their folder"
        )
        self.model_id = model_id


class DownloadCode(StrEnum):
    """Why a download failed."""

    NETWORK = "network"
    """No answer, or the connection broke more often than the retries allow."""
    NOT_FOUND = "not_found"
    """The index or the hub does not have it, or refuses it."""
    CHECKSUM = "checksum"
    """What came is not what the catalogue pins."""
    DISK = "disk"
    """Not enough space, or the folder cannot be written."""
    BUSY = "busy"
    """Another process holds the model folder for too long."""


class DownloadError(ModelError):
    def __init__(self, code: DownloadCode, message: str) -> None:
        super().__init__(message)
        self.code = code
