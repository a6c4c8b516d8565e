"""Silero VAD on real recordings."""

import numpy as np
import pytest

from services.shared.models.store import ModelStore
from services.shared.vad.base import FRAME_SAMPLES, Floats, VadModel
from services.shared.vad.silero import SileroVad
from tests.services.asr.sounds import RATE, joined, recording, silence, tone, transcripts

pytestmark = pytest.mark.models

NAMES = sorted(transcripts())


@pytest.fixture(scope="module")
def vad(model_store: ModelStore) -> VadModel:
    model = SileroVad(model_store.require("silero-vad") / "silero_vad.onnx")
    model.load()
    return model


def frames(samples: Floats) -> Floats:
    return samples[: len(samples) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)


def listen(vad: VadModel, samples: Floats) -> list[float]:
    """One stream alone."""
    state, voice = vad.new_state(), []
    for frame in frames(samples):
        [probability], [state] = vad.probabilities(frame[np.newaxis], [state])
        voice.append(float(probability))
    return voice


@pytest.mark.parametrize("name", NAMES)
def test_people_are_heard(vad: VadModel, name: str) -> None:
    """Speech between silences: most of it is voice, and none of the silence before it is."""
    lead = silence(960)
    voice = listen(vad, joined(lead, recording(name), silence(960)))
    assert max(voice[: len(lead) // FRAME_SAMPLES]) < 0.35
    assert max(voice[-10:]) < 0.35
    spoken = np.array(voice[len(lead) // FRAME_SAMPLES : -30])
    assert (spoken >= 0.5).mean() > 0.6


def test_what_is_no_voice_is_not_heard(vad: VadModel) -> None:
    noise = np.random.default_rng(1).normal(0, 0.01, 3 * RATE).astype(np.float32)
    for sound in (silence(3000), noise, tone(1000, 3000)):
        assert np.mean(np.array(listen(vad, sound)) >= 0.5) < 0.05


def test_a_probability_is_one(vad: VadModel) -> None:
    voice = listen(vad, 3 * recording("jfk.flac"))
    assert 0 <= min(voice) <= max(voice) <= 1


def test_streams_in_one_batch_hear_what_each_hears_alone(vad: VadModel) -> None:
    """They begin and end at different times, as callers do."""
    streams = [frames(recording(name)) for name in NAMES[:6]]
    begins = [3 * number for number in range(len(streams))]
    states = [vad.new_state() for _ in streams]
    together: list[list[float]] = [[] for _ in streams]
    for step in range(max(map(len, streams)) + begins[-1]):
        now = [
            index
            for index, rows in enumerate(streams)
            if begins[index] <= step < begins[index] + len(rows)
        ]
        if not now:
            continue
        batch = np.stack([streams[index][step - begins[index]] for index in now])
        voice, after = vad.probabilities(batch, [states[index] for index in now])
        for index, probability, state in zip(now, voice, after, strict=True):
            states[index] = state
            together[index].append(float(probability))
    for rows, heard in zip(streams, together, strict=True):
        np.testing.assert_allclose(heard, listen(vad, rows.reshape(-1)), atol=1e-4)


def test_a_state_is_its_stream_s_own(vad: VadModel) -> None:
    """What one step is given is not changed by it, nor is the model."""
    speech = frames(recording("jfk.flac"))
    state = vad.new_state()
    first = vad.probabilities(speech[20:21], [state])
    vad.probabilities(speech[50:51], [first[1][0]])
    assert not state.any()
    again = vad.probabilities(speech[20:21], [state])
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1][0], again[1][0])
