"""Mel settings: read from both kinds of configuration, refused when they differ."""

from typing import Any

import pytest

from services.tts.engines.base import EngineUnavailable
from services.tts.engines.fastpitch.mel import MelSettings, bigvgan_mel, check_match, nemo_mel
from tests.services.tts.engines.fastpitch.models import preprocessor_config, vocoder_config

ENGLISH = MelSettings(
    sample_rate=22_050, n_fft=1024, hop=256, window=1024, bands=80, fmin=0, fmax=8000
)


def test_the_published_pairs_fit() -> None:
    assert nemo_mel(preprocessor_config(8000)) == bigvgan_mel(vocoder_config(fmax=8000)) == ENGLISH


@pytest.mark.parametrize("fmax", [None, 11_025])
def test_no_limit_is_half_the_sample_rate(fmax: float | None) -> None:
    assert nemo_mel(preprocessor_config(fmax)) == bigvgan_mel(vocoder_config(fmax=None))
    assert nemo_mel(preprocessor_config(fmax)).fmax == 11_025


def test_windows_may_be_told_in_seconds() -> None:
    config = preprocessor_config() | {
        "n_window_size": None,
        "n_window_stride": None,
        "window_size": 1024 / 22_050,
        "window_stride": 256 / 22_050,
    }
    assert nemo_mel(config) == ENGLISH


def test_what_does_not_fit_is_told_with_both_numbers() -> None:
    other = bigvgan_mel(vocoder_config(fmax=None) | {"hop_size": 128})
    with pytest.raises(EngineUnavailable) as caught:
        check_match(ENGLISH, other, ("en.nemo", "full"))
    for told in ("en.nemo", "full", "fmax 8000 ≠ 11025", "hop 256 ≠ 128"):
        assert told in caught.value.message
    assert "fmin" not in caught.value.message


def test_what_fits_is_not_refused() -> None:
    check_match(ENGLISH, ENGLISH, ("a", "b"))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"mag_power": 2.0}, "mag_power=2.0"),
        ({"normalize": "per_feature"}, "normalize=per_feature"),
        ({"preemph": 0.97}, "preemph=0.97"),
        ({"log": False}, "without log"),
    ],
)
def test_another_scale_is_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(EngineUnavailable, match=told):
        nemo_mel(preprocessor_config() | changes)


@pytest.mark.parametrize("config", [{}, {"sampling_rate": "fast"}])
def test_another_file_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(EngineUnavailable, match="BigVGAN"):
        bigvgan_mel(config)
    with pytest.raises(EngineUnavailable, match="FastPitch"):
        nemo_mel(config)
