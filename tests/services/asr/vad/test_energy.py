"""The model-free turn model."""

import numpy as np

from services.asr.vad.energy import AlwaysDone
from tests.services.asr.sounds import tone


def test_everybody_is_always_done() -> None:
    model = AlwaysDone()
    model.load()
    assert model.probabilities([tone(440, 320), np.zeros(0, dtype=np.float32)]) == [1.0, 1.0]
