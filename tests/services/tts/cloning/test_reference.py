"""Which recordings make a voice, and what is kept of them."""

import numpy as np
import pytest

from services.shared.audio.pcm import Floats
from services.shared.models.store import ModelStore
from services.shared.protocol.base import ErrorCode, ProtocolError
from services.shared.vad.base import VadModel
from services.shared.vad.energy import EnergyVad
from services.shared.vad.silero import SileroVad
from services.tts.cloning.reference import (
    REFERENCE_RATE,
    Reference,
    ReferenceLimits,
    take_reference,
)
from tests.services.asr.sounds import recording, transcripts
from tests.services.tts.cloning.recordings import buzz, silence

LIMITS = ReferenceLimits()


def take(samples: Floats, vad: VadModel | None = None) -> Reference:
    return take_reference(samples, vad or EnergyVad(), LIMITS)


def refusal(samples: Floats, vad: VadModel | None = None) -> ErrorCode:
    with pytest.raises(ProtocolError) as caught:
        take(samples, vad)
    assert caught.value.message.startswith('field "file": ')
    return caught.value.code


def test_speech_is_trimmed_and_its_long_pauses_are_cut() -> None:
    said = buzz(120, 4.2)
    taken = take(np.concatenate([silence(2), said, silence(3), said, silence(2)]))
    assert len(taken.samples) / REFERENCE_RATE == pytest.approx(8.9, abs=0.5)
    assert 5 < taken.speech_s <= 8.4
    assert taken.snr_db > 30
    assert np.abs(taken.samples[:10]).max() < 0.01


def test_short_pauses_stay() -> None:
    said = buzz(120, 4.2)
    taken = take(np.concatenate([said, silence(0.4), said]))
    assert len(taken.samples) / REFERENCE_RATE == pytest.approx(8.8, abs=0.5)


@pytest.mark.parametrize(
    ("samples", "code"),
    [
        (np.zeros(0, dtype=np.float32), ErrorCode.AUDIO_TOO_QUIET),
        (silence(10), ErrorCode.AUDIO_TOO_QUIET),
        (buzz(120, 1.5), ErrorCode.AUDIO_TOO_SHORT),
        (buzz(120, 100), ErrorCode.AUDIO_TOO_LONG),
        (np.clip(buzz(120, 6, level=3.0), -1, 1), ErrorCode.AUDIO_CLIPPED),
        (0.3 * np.clip(buzz(120, 6, level=3.0), -1, 1), ErrorCode.AUDIO_CLIPPED),
    ],
    ids=["nothing", "silent", "short", "long", "clipped", "clipped and turned down"],
)
def test_unfit_recordings_are_refused_with_their_reason(samples: Floats, code: ErrorCode) -> None:
    assert refusal(samples.astype(np.float32)) is code


def test_noise_is_measured_where_speech_is_quietest() -> None:
    said = buzz(120, 6)
    rms = float(np.sqrt(np.mean(said**2)))
    noise = np.random.default_rng(0).normal(0, 1, len(said))

    def with_noise(db: float) -> Floats:
        return (said + noise * rms * 10 ** (-db / 20)).astype(np.float32)

    measured = [take(with_noise(db)).snr_db for db in (20, 25, 30)]
    assert measured == sorted(measured)
    assert measured[0] == pytest.approx(20, abs=4)
    assert refusal(with_noise(8)) is ErrorCode.AUDIO_TOO_NOISY


@pytest.fixture(scope="module")
def silero(model_store: ModelStore) -> VadModel:
    vad = SileroVad(model_store.require("silero-vad") / "silero_vad.onnx")
    vad.load()
    return vad


def real_speech() -> Floats:
    """People, one after the other, at the reference's rate."""
    from services.shared.audio.resample import StreamResampler

    spoken = np.concatenate([recording(name) for name in sorted(transcripts())])
    resampler = StreamResampler(16_000, REFERENCE_RATE, low_latency=False)
    return np.concatenate([resampler.push(spoken), resampler.flush()])


@pytest.mark.models
def test_real_speech_passes_and_its_noisy_and_loud_versions_do_not(silero: VadModel) -> None:
    said = real_speech()[: 30 * REFERENCE_RATE]
    taken = take(said, silero)
    assert taken.speech_s > LIMITS.min_speech_s
    rms = float(np.sqrt(np.mean(said**2)))
    noise = np.random.default_rng(0).normal(0, rms / 2, len(said)).astype(np.float32)
    assert refusal(said + noise, silero) is ErrorCode.AUDIO_TOO_NOISY
    loud = np.clip(said * (4 / np.abs(said).max()), -1, 1)
    assert refusal(loud, silero) is ErrorCode.AUDIO_CLIPPED
    assert refusal(said * 1e-3, silero) is ErrorCode.AUDIO_TOO_QUIET


@pytest.mark.models
def test_music_and_noise_hold_no_speech(silero: VadModel) -> None:
    at = np.arange(8 * REFERENCE_RATE) / REFERENCE_RATE
    melody = np.repeat([262, 330, 392, 523, 392, 330, 294, 349], REFERENCE_RATE)
    chord = np.sin(2 * np.pi * melody * at) + np.sin(2 * np.pi * 1.5 * melody * at)
    assert refusal((0.2 * chord).astype(np.float32), silero) is ErrorCode.NO_SPEECH
    hiss = np.random.default_rng(0).normal(0, 0.1, len(at)).astype(np.float32)
    assert refusal(hiss, silero) is ErrorCode.NO_SPEECH
