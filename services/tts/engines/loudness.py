"""A voice's fixed gain, without clipping."""

import numpy as np

from services.tts.engines.base import Floats

_KNEE = 0.8


def amplified(samples: Floats, gain_db: float) -> Floats:
    """`samples` with a gain; what would clip is rounded off.

    Without memory, so that no sentence changes another's loudness.
    """
    louder: Floats = samples * np.float32(10 ** (gain_db / 20))
    over = np.abs(louder) > _KNEE
    if over.any():
        room = 1 - _KNEE
        bent = _KNEE + room * np.tanh((np.abs(louder[over]) - _KNEE) / room)
        louder[over] = np.sign(louder[over]) * bent
    return louder
