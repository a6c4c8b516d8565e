"""The recognisers by name: a closed list, each imported only when it is asked for."""

from typing import TYPE_CHECKING

from services.asr.engines.base import AsrEngine
from services.asr.engines.streaming import StreamingEngine
from services.shared.models.store import ModelStore

if TYPE_CHECKING:
    from services.asr.config import EngineConfig, EngineName


def create_engine(
    config: "EngineConfig", store: ModelStore, name: "EngineName | None" = None
) -> AsrEngine | StreamingEngine:
    """Build the engine `name`, or the configured one; nothing is loaded yet."""
    match name or config.name:
        case "faster_whisper":
            from services.asr.engines.whisper import WhisperEngine

            return WhisperEngine(config, store)
        case "google":
            from services.asr.engines.google import GoogleEngine

            return GoogleEngine(config.google)
        case "fake":
            from services.asr.engines.fake import FakeEngine

            return FakeEngine(delay_s=config.delay_ms / 1000)
