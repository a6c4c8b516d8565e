"""The seams of listening: is somebody speaking, and is the speaker done?"""

from typing import Protocol

from services.shared.vad.base import FRAME_MS as FRAME_MS
from services.shared.vad.base import FRAME_SAMPLES as FRAME_SAMPLES
from services.shared.vad.base import SAMPLE_RATE as SAMPLE_RATE
from services.shared.vad.base import Floats as Floats
from services.shared.vad.base import VadModel as VadModel


class TurnModel(Protocol):
    """Semantic end of turn."""

    def load(self) -> None: ...

    def probabilities(self, turns: list[Floats]) -> list[float]:
        """Probability that each speaker is done, from the last 8 s of the turn's audio (16 kHz)."""
        ...
