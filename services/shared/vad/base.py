"""The seam of voice activity detection: is somebody speaking?"""

from typing import Protocol

import numpy as np
import numpy.typing as npt

SAMPLE_RATE = 16_000
FRAME_SAMPLES = 512
"""One decision a frame: 32 ms at 16 kHz."""
FRAME_MS = FRAME_SAMPLES * 1000 // SAMPLE_RATE

Floats = npt.NDArray[np.float32]


class VadModel(Protocol):
    """Voice activity of many streams at once; the state of a stream lives with the stream."""

    def load(self) -> None: ...

    def new_state(self) -> Floats:
        """State of a stream that has heard nothing."""
        ...

    def probabilities(self, frames: Floats, states: list[Floats]) -> tuple[Floats, list[Floats]]:
        """One step of several streams.

        Args:
            frames: [streams, FRAME_SAMPLES], 16 kHz mono in [-1, 1].
            states: one a stream.

        Returns:
            Probability of speech [streams], and the new states.
        """
        ...
