import json
from pathlib import Path

import av
import numpy as np
import pytest

from services.bench.corpus import CorpusError, load_corpus, speech_bounds
from services.shared.audio.pcm import Floats, to_int16


def _tone(seconds: float, amplitude: float) -> Floats:
    times = np.arange(round(seconds * 16_000)) / 16_000
    return (amplitude * np.sin(2 * np.pi * 440 * times)).astype(np.float32)


def _write_wav(path: Path, samples: Floats) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(to_int16(samples)[None], "s16", "mono")
        frame.rate = 16_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def test_speech_reaches_to_forty_decibels_below_the_peak() -> None:
    samples = np.concatenate(
        [_tone(0.3, 0.002), _tone(0.5, 0.5), _tone(0.2, 0.01), _tone(0.4, 0.002)]
    )
    # 0.01 is 34 dB below 0.5 and counts; 0.002 is 48 dB below and does not.
    assert speech_bounds(samples) == (0.3, 1.0)


def test_speech_bounds_of_next_to_nothing() -> None:
    assert speech_bounds(np.zeros(8, dtype=np.float32)) == (0.0, 8 / 16_000)


def test_reads_recordings_beside_the_file(tmp_path: Path) -> None:
    silence = np.zeros(1600, dtype=np.float32)
    _write_wav(tmp_path / "a.wav", np.concatenate([silence, _tone(0.5, 0.5), silence]))
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text(json.dumps({"audio": "a.wav", "text": "A!", "language": "en"}) + "\n\n")
    [recording] = load_corpus(corpus)
    assert (recording.name, recording.text, recording.language) == ("a", "A!", "en")
    assert recording.seconds == pytest.approx(0.7)
    assert recording.speech_start_s == pytest.approx(0.1)
    assert recording.speech_end_s == pytest.approx(0.6)


@pytest.mark.parametrize(
    "line",
    ["{", '{"text": "no audio"}', '{"audio": "missing.wav", "text": ""}', '"text"'],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str) -> None:
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text(line)
    with pytest.raises(CorpusError, match=r"corpus\.jsonl line 1: "):
        load_corpus(corpus)


def test_an_empty_or_missing_corpus_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(CorpusError, match="no recordings"):
        load_corpus(tmp_path / "empty.jsonl")
    with pytest.raises(CorpusError, match="cannot be read"):
        load_corpus(tmp_path / "none.jsonl")
