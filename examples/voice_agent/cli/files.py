"""Agents in files."""

from pathlib import Path

import yaml
from pydantic import ValidationError

from examples.voice_agent.config import AgentConfig
from examples.voice_agent.store.errors import StoreError
from services.shared.protocol.codec import describe


def read_agent(file: Path) -> AgentConfig:
    """From YAML, of which JSON is a part.

    Raises:
        StoreError: the file cannot be read, or is no agent.
    """
    try:
        return AgentConfig.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
    except ValidationError as error:
        raise StoreError(f"{file}: {describe(error)}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise StoreError(f"{file} cannot be read: {error}") from None
