"""Smart Turn on real recordings."""

import numpy as np
import pytest

from services.asr.config import TurnConfig, VadConfig
from services.asr.vad.base import Floats, TurnModel
from services.asr.vad.registry import create_turn_model
from services.shared.models.store import ModelStore
from tests.services.asr.sounds import RATE, joined, recording, silence

pytestmark = pytest.mark.models

FINISHED = [
    "vm-passchanged.flac",
    "confbridge-only-one.flac",
    "vm-invalidpassword.flac",
    "pls-hold-while-try.flac",
    "jfk.flac",
]


@pytest.fixture(scope="module")
def model(model_store: ModelStore) -> TurnModel:
    made = create_turn_model(TurnConfig(), VadConfig(), model_store)
    made.load()
    return made


def whole(name: str) -> Floats:
    """As a session asks: with 200 ms of silence after it."""
    return joined(recording(name), silence(200))


def cut(name: str) -> Floats:
    """The speaker stops in the middle of the sentence."""
    samples = recording(name)
    return joined(samples[: len(samples) // 2], silence(200))


@pytest.mark.parametrize("name", FINISHED)
def test_a_finished_sentence_sounds_more_finished_than_its_first_half(
    model: TurnModel, name: str
) -> None:
    finished, unfinished = model.probabilities([whole(name), cut(name)])
    assert unfinished < finished


def test_most_are_told_right_by_the_threshold(model: TurnModel) -> None:
    threshold = TurnConfig().threshold
    finished = model.probabilities([whole(name) for name in FINISHED])
    unfinished = model.probabilities([cut(name) for name in FINISHED])
    right = [one > threshold for one in finished] + [one <= threshold for one in unfinished]
    assert sum(right) >= 0.8 * len(right)


def test_turns_in_one_batch_are_judged_as_each_alone(model: TurnModel) -> None:
    turns = [whole(name) for name in FINISHED]
    alone = [model.probabilities([turn])[0] for turn in turns]
    np.testing.assert_allclose(model.probabilities(turns), alone, atol=1e-3)
    assert all(0 <= probability <= 1 for probability in alone)


def test_the_last_eight_seconds_count(model: TurnModel) -> None:
    audio = whole("jfk.flac")
    assert len(audio) > 8 * RATE
    assert model.probabilities([audio]) == model.probabilities([audio[-8 * RATE :]])


@pytest.mark.parametrize("samples", [0, 1, 100])
def test_hardly_any_audio_is_no_error(model: TurnModel, samples: int) -> None:
    [probability] = model.probabilities([np.zeros(samples, dtype=np.float32)])
    assert 0 <= probability <= 1
