"""Whisper's log-mel spectrogram in numpy (Radford et al. 2022, §2.2).

80 Slaney mel bands of a 400-point Hann-windowed power spectrum, hop 160 at 16 kHz; log10, clipped
to 8 below the maximum, scaled by (x + 4) / 4.
"""

import numpy as np
import numpy.typing as npt

from services.asr.vad.base import SAMPLE_RATE, Floats

_FFT = 400
_HOP = 160
_BANDS = 80


class LogMel:
    """Holds the window and the filter bank; [n] samples give [80, n // 160] features."""

    def __init__(self) -> None:
        self._window = np.hanning(_FFT + 1)[:-1].astype(np.float32)
        self._filters = _mel_filters().astype(np.float32)

    def __call__(self, samples: Floats) -> Floats:
        padded = np.pad(samples, _FFT // 2, mode="reflect")
        frames = np.lib.stride_tricks.sliding_window_view(padded, _FFT)[::_HOP][:-1]
        power = np.abs(np.fft.rfft(frames * self._window, axis=1).astype(np.complex64)) ** 2
        logs = np.log10(np.maximum(self._filters @ power.T, 1e-10))
        logs = np.maximum(logs, logs.max() - 8.0)
        return np.asarray((logs + 4.0) / 4.0, dtype=np.float32)


def _mel_filters() -> npt.NDArray[np.float64]:
    """Triangular filters [80, 201] on Slaney's mel scale with Slaney's area normalisation."""
    bins = np.linspace(0, SAMPLE_RATE / 2, _FFT // 2 + 1)
    edges = _mel_to_hertz(np.linspace(0, _hertz_to_mel(SAMPLE_RATE / 2), _BANDS + 2))
    widths = np.diff(edges)
    slopes = edges[:, None] - bins[None, :]
    rising = -slopes[:-2] / widths[:-1, None]
    falling = slopes[2:] / widths[1:, None]
    weights = np.maximum(0, np.minimum(rising, falling))
    return np.asarray(weights * (2.0 / (edges[2:] - edges[:-2]))[:, None])


# Slaney's scale: linear below 1 kHz (15 mel), logarithmic above (27 steps a factor 6.4).
_STEP = 200.0 / 3
_KNEE_HERTZ, _KNEE_MEL = 1000.0, 15.0
_LOG_STEP = float(np.log(6.4)) / 27


def _hertz_to_mel(hertz: float) -> float:
    if hertz < _KNEE_HERTZ:
        return hertz / _STEP
    return _KNEE_MEL + float(np.log(hertz / _KNEE_HERTZ)) / _LOG_STEP


def _mel_to_hertz(mel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    logarithmic = _KNEE_HERTZ * np.exp(_LOG_STEP * (mel - _KNEE_MEL))
    return np.where(mel < _KNEE_MEL, mel * _STEP, logarithmic)
