"""What is particular to Whisper; what it shares with others is in the contract."""

import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from services.asr.config import EngineConfig
from services.asr.engines.base import DecodeRequest, EngineError, Hypothesis
from services.asr.engines.whisper import WhisperEngine
from services.shared.models.errors import ModelError
from services.shared.models.store import ModelStore
from tests.services.asr.sounds import RATE, joined, recording, silence, transcripts, words_of
from tests.services.serving import standstills

pytestmark = pytest.mark.models

TEXTS = transcripts()
FIRST, SECOND, THIRD = "confbridge-only-one.flac", "vm-passchanged.flac", "vm-helpexit.flac"


@pytest.fixture(scope="module")
def engine(model_store: ModelStore) -> Iterator[WhisperEngine]:
    made = WhisperEngine(EngineConfig(), model_store)
    made.load()
    yield made
    made.close()


def hear(engine: WhisperEngine, request: DecodeRequest) -> Hypothesis:
    [answer] = engine.transcribe([request])
    assert isinstance(answer, Hypothesis), answer
    return answer


@pytest.mark.parametrize("mode", ["always", "partials", "never"])
def test_short_context_hears_the_same(model_store: ModelStore, mode: str) -> None:
    engine = WhisperEngine(EngineConfig(short_context=mode), model_store)  # type: ignore[arg-type]
    engine.load()
    for name in (FIRST, SECOND):
        assert words_of(hear(engine, DecodeRequest(recording(name), True)).text) == (
            words_of(TEXTS[name])
        )
    engine.close()


def test_what_follows_a_pause_is_heard(engine: WhisperEngine) -> None:
    """A final covers its whole audio, with the times of all its words."""
    names = [FIRST, SECOND, THIRD]
    audio = joined(*(joined(recording(name), silence(1300)) for name in names))
    answer = hear(engine, DecodeRequest(audio, True, word_timestamps=True))
    assert words_of(answer.text) == [word for name in names for word in words_of(TEXTS[name])]
    assert " ".join(word.word for word in answer.words) == answer.text
    for before, after in pairwise(answer.words):
        assert before.start_ms <= before.end_ms
        assert before.start_ms <= after.start_ms
    assert answer.words[-1].end_ms > 9000


@pytest.mark.parametrize(
    "hints",
    [{"prompt": "A telephone conference. " * 60}, {"hotwords": ("participant",)}],
    ids=["prompt", "hotwords"],
)
def test_hints_cost_no_extra_decodes(engine: WhisperEngine, hints: dict[str, object]) -> None:
    """With hints Whisper gives no timestamps, which once looked like a rest without end."""
    audio = joined(recording(FIRST), silence(200))
    hear(engine, DecodeRequest(audio, True))
    began = time.monotonic()
    plain = hear(engine, DecodeRequest(audio, True))
    took = time.monotonic() - began
    with standstills() as stood:
        answer = hear(engine, DecodeRequest(audio, True, **hints))  # type: ignore[arg-type]
    assert words_of(answer.text) == words_of(plain.text)
    assert time.monotonic() - began < 8 * took + 0.5 + stood.total_s


def test_an_engine_that_is_not_loaded_says_so(model_store: ModelStore) -> None:
    with pytest.raises(EngineError, match="not loaded"):
        _ = WhisperEngine(EngineConfig(), model_store).capabilities


def test_a_model_that_is_not_there_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"whisper-tiny\.en"):
        WhisperEngine(EngineConfig(), ModelStore(tmp_path))


def test_one_shape_of_audio_is_padded_to_few_lengths(engine: WhisperEngine) -> None:
    requests = [
        DecodeRequest(np.zeros(int(seconds * RATE), dtype=np.float32), True)
        for seconds in (0.1, 3, 6, 6.5, 11, 15.9, 16.5, 28)
    ]
    assert len({engine.batch_key(request) for request in requests}) == 4
