"""Smart Turn v3 (pipecat-ai/smart-turn): does this audio sound finished?

Input: the last 8 s of the whole turn at 16 kHz, zero-padded at the front, normalised to zero mean
and unit variance, as Whisper log-mel features [80, 800]. Output: probability of completion.
"""

from pathlib import Path
from typing import Any

import numpy as np

from services.asr.vad.base import SAMPLE_RATE, Floats
from services.asr.vad.log_mel import LogMel

WINDOW_SAMPLES = 8 * SAMPLE_RATE


class SmartTurn:
    """Runs in the thread of its scheduler; `threads` is for one inference."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        self._path = path
        self._threads = threads
        self._session: Any = None
        self._log_mel = LogMel()

    def load(self) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(self._path), options, providers=["CPUExecutionProvider"]
        )

    def probabilities(self, turns: list[Floats]) -> list[float]:
        features = np.stack([self._features(samples) for samples in turns])
        (output,) = self._session.run(None, {"input_features": features})
        return [float(value) for value in output[:, 0]]

    def _features(self, samples: Floats) -> Floats:
        window = np.zeros(WINDOW_SAMPLES, dtype=np.float32)
        recent = samples[-WINDOW_SAMPLES:]
        if len(recent):
            window[-len(recent) :] = recent
        return self._log_mel((window - window.mean()) / np.sqrt(window.var() + 1e-7))
