"""Vocoding in windows; rounding of durations."""

from itertools import repeat

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.tts.engines.base import Floats
from services.tts.engines.fastpitch.mel import MelSettings
from services.tts.engines.fastpitch.speech import Vocoder, whole_frames

HOP, REACH = 4, 3
MEL = MelSettings(sample_rate=8000, n_fft=16, hop=HOP, window=16, bands=2, fmin=0, fmax=4000)


def smear(mel: Floats) -> Floats:
    """A vocoder whose every sample depends on all frames up to REACH away, edges included."""
    frames = mel.shape[1]
    padded = np.pad(mel.sum(axis=0), REACH, mode="edge")
    rows = np.stack([padded[at : at + 2 * REACH + 1] for at in range(frames)])
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((2 * REACH + 1, HOP)).astype(np.float32)
    return (rows @ weights).reshape(-1)


@given(
    frames=st.integers(0, 60),
    windows=st.lists(st.integers(1, 20), min_size=1, max_size=60),
)
def test_windows_joined_are_one_run(frames: int, windows: list[int]) -> None:
    mel = np.random.default_rng(1).standard_normal((2, frames)).astype(np.float32)
    pieces = list(Vocoder(smear, MEL, REACH).audio(mel, iter(windows + [7] * 60)))
    assert all(len(piece) for piece in pieces)
    joined = np.concatenate([np.zeros(0, dtype=np.float32), *pieces])
    assert len(joined) == frames * HOP
    np.testing.assert_allclose(joined, smear(mel) if frames else joined, atol=1e-5)


def test_too_little_context_is_heard() -> None:
    mel = np.random.default_rng(1).standard_normal((2, 40)).astype(np.float32)
    joined = np.concatenate(list(Vocoder(smear, MEL, REACH - 1).audio(mel, repeat(10))))
    assert np.abs(joined - smear(mel)).max() > 0.1


def test_a_few_frames_at_the_end_are_not_a_piece_of_their_own() -> None:
    mel = np.zeros((2, 21), dtype=np.float32)
    pieces = Vocoder(smear, MEL, REACH).audio(mel, repeat(10))
    assert [len(piece) // HOP for piece in pieces] == [10, 11]


@pytest.mark.parametrize(("pace", "frames"), [(1.0, [0, 1, 1, 8]), (2.0, [0, 0, 1, 4])])
def test_durations_are_rounded_at_the_pace(pace: float, frames: list[int]) -> None:
    durations = np.array([0.4, 0.5, 1.49, 7.6], dtype=np.float32)
    assert whole_frames(durations, pace).tolist() == frames
