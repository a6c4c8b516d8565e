"""What is special to Piper: streaming within the sentence, word times, errors of loading."""

from collections.abc import Iterator
from itertools import repeat
from pathlib import Path

import numpy as np
import pytest

from services.shared.models.store import ModelStore
from services.tts.config import JOE
from services.tts.engines.base import EngineUnavailable, SynthesisRequest, WordTime
from services.tts.engines.espeak import Espeak
from services.tts.engines.piper import PiperEngine, PiperSource
from services.tts.engines.registry import find_model
from services.tts.engines.script import MAX_PHONEMES, read_script, without_idle_periods
from services.tts.engines.vits import VitsModel, VitsScales
from services.tts.engines.vits_graph import split_vits

SCALES = VitsScales(noise=0.667, length=1.0, duration_noise=0.8)


@pytest.fixture(scope="module")
def model_file(model_store: ModelStore) -> Path:
    return find_model(JOE.model, ".onnx", model_store)


@pytest.fixture(scope="module")
def engine(model_file: Path) -> Iterator[PiperEngine]:
    made = PiperEngine([PiperSource("joe", "Joe", model_file, "en-US", "CC0-1.0", gain_db=3.0)])
    made.load()
    yield made
    made.close()


@pytest.fixture(scope="module")
def model(model_file: Path) -> VitsModel:
    import onnxruntime

    return VitsModel(
        split_vits(model_file),
        lambda data: onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"]),
    )


@pytest.fixture(scope="module")
def espeak() -> Espeak:
    return Espeak("en-us")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Dr. Smith met Mrs. Jones.", "Dr Smith met Mrs Jones."),
        ("I met the dr. Then I left.", "I met the dr Then I left."),
        ("Stop. Go.", "Stop. Go."),
    ],
)
def test_periods_of_titles_do_not_end_sentences(text: str, expected: str) -> None:
    assert without_idle_periods(text) == expected


@pytest.mark.parametrize("missing", ["model", "config"])
def test_missing_files_are_named(tmp_path: Path, missing: str) -> None:
    path = tmp_path / "voice.onnx"
    if missing == "model":
        (tmp_path / "voice.onnx.json").write_text(
            '{"phoneme_id_map": {}, "espeak": {"voice": "en-us"}, "audio": {"sample_rate": 1}}'
        )
    engine = PiperEngine([PiperSource("x", "X", path, "en-US", "MIT")])
    with pytest.raises(EngineUnavailable, match=r"voice\.onnx"):
        engine.load()


def test_an_unknown_espeak_voice_is_refused() -> None:
    with pytest.raises(EngineUnavailable, match="klingon"):
        Espeak("klingon-nowhere")


def test_a_long_sentence_is_divided_between_words(espeak: Espeak) -> None:
    script = read_script("wonderful " * 90, espeak)
    runs = list(script.runs())
    assert len(runs) > 1
    assert [phoneme for run in runs for phoneme in run] == list(range(len(script.phonemes)))
    assert all(len(run) <= MAX_PHONEMES for run in runs)
    assert all(script.phonemes[run.start] == " " for run in runs[1:])


@pytest.mark.models
def test_windows_joined_are_what_one_run_gives(model: VitsModel) -> None:
    rng = np.random.default_rng(5)
    utterance = model.encode([1, 0] + [20, 0, 61, 0, 25, 0] * 20 + [2], SCALES, rng)
    whole = np.concatenate(list(model.decode(utterance, repeat(utterance.frames))))
    for size in (7, 32, 100):
        pieces = list(model.decode(utterance, repeat(size)))
        assert len(pieces) == -(-utterance.frames // size)
        np.testing.assert_allclose(np.concatenate(pieces), whole, atol=1e-4)
    assert len(whole) == utterance.frames * model.hop == utterance.samples_per_id.sum()


@pytest.mark.models
def test_audio_comes_before_the_sentence_is_done(engine: PiperEngine) -> None:
    text = "This is one rather long sentence without any break that could be used to divide it."
    pieces = list(engine.synthesize(SynthesisRequest(text, "joe")))
    total = sum(len(piece.samples) for piece in pieces)
    assert len(pieces[0].samples) < 0.15 * total


@pytest.mark.models
def test_words_are_where_the_sound_is(engine: PiperEngine) -> None:
    pieces = list(engine.synthesize(SynthesisRequest("Well, stop. Go away.", "joe", seed=1)))
    audio = np.concatenate([piece.samples for piece in pieces])
    words = {word.word: word for piece in pieces for word in piece.words}

    def loudness(start_ms: int, end_ms: int) -> float:
        part = audio[start_ms * 22050 // 1000 : end_ms * 22050 // 1000]
        return float(np.sqrt(np.mean(np.square(part))))

    pause = loudness(words["stop."].end_ms + 20, words["Go"].start_ms - 20)
    spoken = [loudness(word.start_ms, word.end_ms) for word in words.values()]
    assert pause < 0.02
    assert min(spoken) > 4 * pause


@pytest.mark.models
def test_a_seedless_request_varies(engine: PiperEngine) -> None:
    first, second = (
        np.concatenate([p.samples for p in engine.synthesize(SynthesisRequest("Hello.", "joe"))])
        for _ in range(2)
    )
    assert len(first) != len(second) or not np.array_equal(first, second)


@pytest.mark.models
def test_foreign_script_and_long_numbers_are_survived(engine: PiperEngine) -> None:
    for text in ("hello ภาษาไทย 你好 привет world", "9" * 900, "a" * 900, "[[x]] <b> & % \\ \0"):
        words: list[WordTime] = []
        for piece in engine.synthesize(SynthesisRequest(text, "joe", speed=4.0)):
            words += piece.words
        assert all(word.word in text for word in words)
