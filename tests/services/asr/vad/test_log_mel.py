"""Whisper's features, against an implementation that is not ours."""

import numpy as np
import pytest
from faster_whisper.feature_extractor import FeatureExtractor

from services.asr.vad.base import Floats
from services.asr.vad.log_mel import LogMel
from tests.services.asr.sounds import RATE, recording, silence, tone


@pytest.mark.parametrize("name", ["jfk.flac", "vm-passchanged.flac"])
def test_speech_has_the_features_of_the_reference(name: str) -> None:
    samples = recording(name)
    samples = samples[: len(samples) // 160 * 160]
    ours = LogMel()(samples)
    theirs = FeatureExtractor()(samples, padding=0)
    assert ours.shape == (80, len(samples) // 160)
    np.testing.assert_allclose(ours, theirs, atol=2e-4)


@pytest.mark.parametrize("seed", [1, 2])
def test_noise_has_the_features_of_the_reference(seed: int) -> None:
    noise = np.random.default_rng(seed).normal(0, 1, 8 * RATE).astype(np.float32)
    np.testing.assert_allclose(LogMel()(noise), FeatureExtractor()(noise, padding=0), atol=2e-4)


def test_the_shape_that_smart_turn_takes() -> None:
    features = LogMel()(silence(8000))
    assert features.shape == (80, 800)
    assert features.dtype == np.float32


@pytest.mark.parametrize("hertz", [200, 440, 1000, 3000])
def test_a_higher_tone_is_in_a_higher_band(hertz: int) -> None:
    def band(samples: Floats) -> int:
        return int(LogMel()(samples).mean(axis=1).argmax())

    assert band(tone(hertz, 1000)) < band(tone(hertz * 1.5, 1000))


def test_silence_is_finite() -> None:
    assert np.isfinite(LogMel()(silence(1000))).all()
