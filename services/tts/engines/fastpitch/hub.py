"""Where a model's files lie: a path, or a repository of the model hub at one commit."""

import re
from collections.abc import Sequence
from pathlib import Path

from services.tts.engines.base import EngineUnavailable

_HUB = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)@(?P<revision>[0-9a-f]{40})")


def resolve(source: str, files: Sequence[str]) -> Path:
    """The path that `source` names; what comes from the hub is fetched once.

    Args:
        source: a path, or `owner/name@commit` of the hub; branches and tags may change.
        files: names or patterns of the files that are needed of a repository.

    Raises:
        EngineUnavailable: nothing is there, or the hub does not give it.
    """
    path = Path(source).expanduser()
    if path.exists():
        return path
    found = _HUB.fullmatch(source)
    if not found:
        raise EngineUnavailable(
            f"{source} does not exist; a model of the hub is named owner/name@commit"
        )
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise EngineUnavailable(f"{source} needs huggingface_hub to be fetched") from error
    try:
        return Path(
            snapshot_download(
                found["repository"], revision=found["revision"], allow_patterns=list(files)
            )
        )
    except Exception as error:
        raise EngineUnavailable(f"{source} cannot be fetched: {error}") from error
