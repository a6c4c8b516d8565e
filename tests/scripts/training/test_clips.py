"""Clips: trimmed to what sounds, of one loudness, never clipped; refusals have a reason."""

from pathlib import Path

import numpy as np
import pyloudnorm
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.training.clips import ClipSettings, Unusable, level, make_clip, open_vad, write_clip
from services.shared.media.decode import decode_audio
from services.shared.vad.energy import EnergyVad
from tests.scripts.training.tones import recording, silence, tone

SETTINGS = ClipSettings(vad="energy")
RATE = SETTINGS.sample_rate


def test_a_clip_is_the_speech_with_its_margins() -> None:
    clip = make_clip(recording(1.0, 2.0, 1.5), SETTINGS, EnergyVad())
    assert clip.source_s == pytest.approx(4.5, abs=0.01)
    assert clip.start_s == pytest.approx(1.0 - 0.12, abs=0.04)
    assert len(clip.samples) / RATE == pytest.approx(2.0 + 2 * 0.12, abs=0.07)


def test_margins_end_where_the_recording_ends() -> None:
    clip = make_clip(recording(0, 1.0, 0), SETTINGS, EnergyVad())
    assert len(clip.samples) / RATE == pytest.approx(1.0, abs=0.01)


@settings(max_examples=20)
@given(st.floats(0.001, 0.9))
def test_every_loudness_becomes_the_same_and_nothing_clips(loud: float) -> None:
    levelled, before = level(tone(1.0, RATE, loud), SETTINGS)
    measured = pyloudnorm.Meter(RATE).integrated_loudness(levelled.astype(np.float64))
    assert np.isfinite(before)
    assert measured == pytest.approx(SETTINGS.loudness, abs=0.1)
    assert np.abs(levelled).max() <= 10 ** (-1 / 20) + 1e-6


def test_a_peak_limits_the_gain() -> None:
    samples = tone(1.0, RATE, 0.001)
    samples[5000] = 0.5
    levelled, _ = level(samples, SETTINGS)
    assert np.abs(levelled).max() == pytest.approx(10 ** (-1 / 20), abs=1e-3)


@pytest.mark.parametrize(
    ("audio", "reason"),
    [
        (b"", "unreadable"),
        (b"not audio at all", "unreadable"),
        (recording(2.0, 0.0, 0.0), "no_speech"),
        (recording(0.0, 0.2, 0.0), "too_short"),
        (recording(0.0, 3.0, 0.0), "too_long"),
    ],
)
def test_what_cannot_be_used_says_why(audio: bytes, reason: str) -> None:
    with pytest.raises(Unusable) as refused:
        make_clip(audio, ClipSettings(max_source_s=2.5), EnergyVad())
    assert refused.value.reason == reason


def test_silence_has_no_loudness() -> None:
    with pytest.raises(Unusable) as refused:
        level(silence(1.0, RATE), SETTINGS)
    assert refused.value.reason == "silent"


@pytest.mark.parametrize("file_format", ["flac", "wav"])
def test_a_written_clip_is_the_same_and_leaves_no_part(tmp_path: Path, file_format: str) -> None:
    made = ClipSettings(file_format="flac" if file_format == "flac" else "wav")
    path = tmp_path / f"clip.{file_format}"
    samples = tone(0.7, RATE)
    write_clip(path, samples, made)
    again = decode_audio(path, sample_rate=RATE, max_duration_s=5)
    assert len(again) == len(samples)
    assert np.abs(again - samples).max() < 1e-4
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_the_detector_without_a_model_opens() -> None:
    assert isinstance(open_vad("energy"), EnergyVad)
