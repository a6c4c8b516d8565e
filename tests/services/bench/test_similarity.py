"""Is the reference compared with the speech, and is a missing encoder told in time?"""

from pathlib import Path

import numpy as np
import pytest

from services.bench.corpus import CorpusError
from services.bench.similarity import RATE, check_encoder, compare, read_reference
from services.shared.audio.pcm import Floats
from services.shared.media.wav import wav_bytes


class Pitch:
    """An encoder for tones: where the spectrum is, as a vector of length 1."""

    def embed_utterance(self, samples: Floats) -> Floats:
        spectrum = np.abs(np.fft.rfft(samples, 1 << 15))
        vector: Floats = (spectrum / np.linalg.norm(spectrum)).astype(np.float32)
        return vector


def tone(hertz: float, seconds: float = 2.0) -> Floats:
    return np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE).astype(np.float32)


def test_the_same_is_near_one_and_another_near_zero() -> None:
    same = compare(Pitch(), np.array, tone(200), [tone(200), tone(200, 3.0)])
    other = compare(Pitch(), np.array, tone(200), [tone(200), tone(900)])
    assert same is not None
    assert other is not None
    assert same.mean > 0.8
    assert other.p5 < 0.2 < other.mean < same.mean
    assert (same.utterances, other.utterances) == (2, 2)


def test_what_is_too_short_is_not_judged() -> None:
    assert compare(Pitch(), np.array, tone(200), [tone(200, 0.5)]) is None


def test_a_missing_encoder_is_told_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(CorpusError, match="uv pip install resemblyzer"):
        check_encoder()


def test_references_are_read_in_any_format(tmp_path: Path) -> None:
    file = tmp_path / "ada.wav"
    file.write_bytes(wav_bytes(tone(200), RATE))
    assert len(read_reference(file)) == 2 * RATE
    file.write_bytes(b"nothing")
    with pytest.raises(CorpusError, match=r"ada\.wav"):
        read_reference(file)
    with pytest.raises(CorpusError, match="missing"):
        read_reference(tmp_path / "missing.wav")
