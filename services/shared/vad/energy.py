"""A model-free stand-in for tests and for machines without weights: loudness decides."""

import numpy as np

from services.shared.vad.base import Floats

_THRESHOLD = 0.01
"""Root mean square of a frame (full scale is 1) above which somebody speaks."""


class EnergyVad:
    """Frames are voiced when louder than -40 dBFS."""

    def load(self) -> None:
        """Nothing to load."""

    def new_state(self) -> Floats:
        return np.zeros(1, dtype=np.float32)

    def probabilities(self, frames: Floats, states: list[Floats]) -> tuple[Floats, list[Floats]]:
        rms = np.sqrt(np.mean(np.square(frames), axis=1))
        return (rms > _THRESHOLD).astype(np.float32), states
