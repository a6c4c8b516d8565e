"""What tells two states of a voice apart."""

from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

from services.tts.engines.base import EngineUnavailable


def version_of(files: Iterable[Path], *settings: object) -> str:
    """Names all that decides how a voice sounds: equal only for equal files and settings.

    Raises:
        EngineUnavailable: a file cannot be read.
    """
    digest = sha256(repr(settings).encode())
    for path in files:
        try:
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        except OSError as error:
            raise EngineUnavailable(f"{path} cannot be read: {error}") from error
    return digest.hexdigest()[:16]
