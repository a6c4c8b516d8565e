"""Gain without clipping."""

import numpy as np
import pytest

from services.tts.engines.loudness import amplified


def test_quiet_samples_are_left_alone_and_loud_ones_kept_below_one() -> None:
    samples = np.linspace(-1.5, 1.5, 3001, dtype=np.float32)
    given = samples.copy()
    out = amplified(samples, 0.0)
    quiet = np.abs(samples) <= 0.8
    np.testing.assert_array_equal(out[quiet], samples[quiet])
    assert np.abs(out).max() < 1.0
    assert (np.diff(out) > 0).all()
    np.testing.assert_array_equal(samples, given)


def test_gain_is_in_decibels() -> None:
    [out] = amplified(np.array([0.1], dtype=np.float32), 6.0)
    assert out == pytest.approx(0.19953, rel=1e-4)
