"""The recognisers by name: a closed list, each imported only when it is asked for."""

from typing import TYPE_CHECKING

from services.asr.engines.base import AsrEngine
from services.shared.models.store import ModelStore

if TYPE_CHECKING:
    from services.asr.config import EngineConfig


def create_engine(config: "EngineConfig", store: ModelStore) -> AsrEngine:
    """Build the configured engine; nothing is loaded yet."""
    match config.name:
        case "faster_whisper":
            from services.asr.engines.whisper import WhisperEngine

            return WhisperEngine(config, store)
        case "fake":
            from services.asr.engines.fake import FakeEngine

            return FakeEngine(delay_s=config.delay_ms / 1000)
