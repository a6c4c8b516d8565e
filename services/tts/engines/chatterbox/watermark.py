"""Resemble's inaudible watermark (Perth) on a stream.

The library's watermarker takes whole utterances. What it adds is a residual below 2 kHz that hardly
depends on what is farther away than a fifth of a second, so here each piece gets its own residual,
computed with some of the audio before it and faded at both ends: nothing waits, nothing clicks.
"""

from typing import Any

import numpy as np
import soxr

from services.tts.engines.base import EngineUnavailable, Floats
from services.tts.engines.chatterbox.conditioning import SAMPLE_RATE

_BEFORE = SAMPLE_RATE * 3 // 10
"""Samples heard again before a piece."""
_FADE = SAMPLE_RATE // 200
_LEAST = SAMPLE_RATE // 50
"""Samples that are padded to: the spectrum reflects half a window at both ends."""


def load_watermarker() -> Any:
    """The library's watermarker, with the weights that it carries.

    Raises:
        EngineUnavailable: it is not there. Speech without it is never made.
    """
    try:
        import perth
    except ImportError as error:
        raise EngineUnavailable(
            "the chatterbox engine needs resemble-perth for its watermark; install it with: "
            "uv sync --group chatterbox"
        ) from error
    # The package swallows its own import errors and leaves None in the place of the class.
    if perth.PerthImplicitWatermarker is None:
        raise EngineUnavailable(
            "resemble-perth cannot load its watermark model, and Chatterbox does not speak without "
            "a watermark; it needs setuptools below 81: uv pip install 'setuptools<81'"
        )
    try:
        return perth.PerthImplicitWatermarker()
    except (OSError, AssertionError, RuntimeError) as error:
        raise EngineUnavailable(f"the watermark's weights cannot be read: {error}") from error


class WatermarkStream:
    """One request's audio gets its watermark.

    Args:
        watermarker: of `load_watermarker`.
    """

    def __init__(self, watermarker: Any) -> None:
        self._net = watermarker.perth_net
        self._past = np.zeros(0, dtype=np.float32)

    def push(self, samples: Floats) -> Floats:
        """The piece with its watermark; as long as it was."""
        window = np.concatenate([self._past, samples])
        residual = self._residual(window)[len(self._past) :]
        self._past = window[-_BEFORE:]
        length = min(_FADE, len(residual) // 2)
        fade = np.linspace(0, 1, length, dtype=np.float32)
        residual[:length] *= fade
        residual[len(residual) - length :] *= fade[::-1]
        return samples + residual

    def _residual(self, window: Floats) -> Floats:
        import torch

        rate = self._net.hp.sample_rate
        room = max(0, 2 * self._net.hp.n_fft * SAMPLE_RATE // rate - len(window))
        padded = np.pad(window, (0, room + _LEAST))
        signal = torch.from_numpy(soxr.resample(padded, SAMPLE_RATE, rate))
        # Without inference mode each call would keep its graph.
        with torch.inference_mode():
            magnitude, phase = self._net.ap.signal_to_magphase(signal.to(self._net.device))
            marked, _ = self._net.encoder(magnitude[None])
            plain = self._net.ap.magphase_to_signal(magnitude, phase)
            added = self._net.ap.magphase_to_signal(marked[0], phase) - plain
        residual = soxr.resample(added.cpu().numpy(), rate, SAMPLE_RATE).astype(np.float32)
        missing = len(window) - len(residual)
        return np.pad(residual, (0, max(0, missing)))[: len(window)]
