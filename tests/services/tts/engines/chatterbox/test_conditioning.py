"""Voices from speech: those that the library makes, as arrays."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.shared.media.decode import decode_audio
from services.tts.engines.base import EngineError, EngineUnavailable, Floats
from services.tts.engines.chatterbox.conditioning import VoiceTensors, make_voice, read_builtin

pytestmark = [
    pytest.mark.chatterbox,
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.timeout(120),  # the library compiles parts of librosa the first time
]

SPEECH = Path("tests/data/speech/jfk.flac")


@pytest.fixture(scope="module")
def speech() -> Floats:
    return decode_audio(SPEECH, sample_rate=24_000, max_duration_s=60)


@pytest.fixture(scope="module")
def made(chatterbox_models: Any, speech: Floats) -> VoiceTensors:
    return make_voice(chatterbox_models.voice_encoder, chatterbox_models.s3gen, speech, 24_000)


def test_a_voice_is_the_one_that_the_library_makes(
    chatterbox_models: Any, made: VoiceTensors, tmp_path: Path
) -> None:
    import torch
    from chatterbox.tts import ChatterboxTTS

    library = ChatterboxTTS.__new__(ChatterboxTTS)
    library.s3gen, library.ve = chatterbox_models.s3gen, chatterbox_models.voice_encoder
    library.t3, library.device = chatterbox_models.t3, "cpu"
    with torch.inference_mode():
        library.prepare_conditionals(SPEECH)
    library.conds.save(tmp_path / "conds.pt")
    expected = read_builtin(tmp_path / "conds.pt")
    got = made
    np.testing.assert_allclose(got.speaker, expected.speaker, atol=0.02)
    np.testing.assert_allclose(got.reference_mel, expected.reference_mel, atol=0.1)
    assert got.prompt_tokens.shape == expected.prompt_tokens.shape == (1, 150)
    assert got.reference_tokens.shape == expected.reference_tokens.shape == (1, 250)
    np.testing.assert_array_equal(got.reference_tokens, expected.reference_tokens)
    similarity = (got.timbre * expected.timbre).sum() / (
        np.linalg.norm(got.timbre) * np.linalg.norm(expected.timbre)
    )
    assert similarity > 0.999


def test_it_survives_being_stored(made: VoiceTensors) -> None:
    again = VoiceTensors.from_mapping(made.as_mapping())
    for name, array in made.as_mapping().items():
        np.testing.assert_array_equal(array, again.as_mapping()[name])


@pytest.mark.parametrize("seconds", [1.3, 3.0])
def test_a_short_reference_makes_a_voice(
    chatterbox_models: Any, speech: Floats, seconds: float
) -> None:
    part = speech[24_000 : 24_000 + int(seconds * 24_000)]
    made = make_voice(chatterbox_models.voice_encoder, chatterbox_models.s3gen, part, 24_000)
    assert made.reference_mel.shape[1] == 2 * made.reference_tokens.shape[1]
    assert made.reference_tokens.shape[1] == int(seconds * 25)


def test_too_little_speech_is_refused(chatterbox_models: Any, speech: Floats) -> None:
    with pytest.raises(EngineError, match=r"0\.5 s are too short"):
        make_voice(
            chatterbox_models.voice_encoder, chatterbox_models.s3gen, speech[:12_000], 24_000
        )


def test_what_is_no_voice_is_refused(chatterbox_library: Any, tmp_path: Path) -> None:
    tensors = chatterbox_library.random_voice().as_mapping()
    with pytest.raises(EngineError, match="lacks speaker"):
        VoiceTensors.from_mapping({key: tensors[key] for key in tensors if key != "speaker"})
    with pytest.raises(EngineError, match="not equally long"):
        VoiceTensors.from_mapping(tensors | {"reference_mel": tensors["reference_mel"][:, 1:]})
    (tmp_path / "conds.pt").write_bytes(b"no voice")
    with pytest.raises(EngineUnavailable, match="cannot be read"):
        read_builtin(tmp_path / "conds.pt")
