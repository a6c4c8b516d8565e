"""Silero VAD (v5/v6 ONNX graph), many streams a run.

The network takes 512 samples at 16 kHz preceded by the last 64 samples of the frame before, and
carries a recurrent state [2, streams, 128].
"""

from pathlib import Path
from typing import Any

import numpy as np

from services.shared.vad.base import FRAME_SAMPLES, SAMPLE_RATE, Floats

_CONTEXT = 64
_STATE = 2 * 128


class SileroVad:
    """A stream's state is one vector: 64 samples of context, then the recurrent state."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._session: Any = None
        self._rate = np.array(SAMPLE_RATE, dtype=np.int64)

    def load(self) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(self._path), options, providers=["CPUExecutionProvider"]
        )

    def new_state(self) -> Floats:
        return np.zeros(_CONTEXT + _STATE, dtype=np.float32)

    def probabilities(self, frames: Floats, states: list[Floats]) -> tuple[Floats, list[Floats]]:
        count = len(frames)
        stacked = np.stack(states)
        recurrent = stacked[:, _CONTEXT:].reshape(count, 2, 128).transpose(1, 0, 2)
        output, recurrent = self._session.run(
            None,
            {
                "input": np.concatenate([stacked[:, :_CONTEXT], frames], axis=1),
                "state": np.ascontiguousarray(recurrent),
                "sr": self._rate,
            },
        )
        flat = recurrent.transpose(1, 0, 2).reshape(count, _STATE)
        tails = frames[:, FRAME_SAMPLES - _CONTEXT :]
        return output[:, 0], list(np.concatenate([tails, flat], axis=1))
