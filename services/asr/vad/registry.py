"""Voice activity and turn models by name: a closed list, imported only when asked for."""

from typing import TYPE_CHECKING

from services.asr.vad.base import TurnModel, VadModel
from services.shared.models.store import ModelStore

if TYPE_CHECKING:
    from services.asr.config import TurnConfig, VadConfig


def create_vad(config: "VadConfig", store: ModelStore) -> VadModel:
    """Build the configured voice activity detector; nothing is loaded yet."""
    match config.name:
        case "silero":
            from services.shared.vad.silero import SileroVad

            return SileroVad(store.require(config.model) / "silero_vad.onnx")
        case "energy":
            from services.shared.vad.energy import EnergyVad

            return EnergyVad()


def create_turn_model(turn: "TurnConfig", vad: "VadConfig", store: ModelStore) -> TurnModel:
    """Build the turn model; beside the model-free VAD goes the model-free turn model."""
    if vad.name == "energy":
        from services.asr.vad.energy import AlwaysDone

        return AlwaysDone()
    from services.asr.vad.smart_turn import SmartTurn

    return SmartTurn(store.require(turn.model) / "smart-turn-v3.2-cpu.onnx")
