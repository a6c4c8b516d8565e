"""The model-free detector."""

from services.shared.vad.base import FRAME_SAMPLES, Floats
from services.shared.vad.energy import EnergyVad
from tests.services.asr.sounds import joined, silence, tone


def frames(samples: Floats) -> Floats:
    return samples[: len(samples) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)


def test_loud_frames_are_voice() -> None:
    vad = EnergyVad()
    vad.load()
    audio = frames(joined(silence(320), tone(440, 320), 0.01 * tone(440, 320)))
    voice, states = vad.probabilities(audio, [vad.new_state() for _ in audio])
    assert voice.tolist() == [0.0] * 10 + [1.0] * 10 + [0.0] * 10
    assert len(states) == len(audio)
