"""Word times against known truths, and what hints and company do to the words of Whisper."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from services.asr.config import EngineConfig
from services.asr.engines.base import DecodeRequest, Hypothesis
from services.asr.engines.whisper import WhisperEngine
from services.shared.audio.pcm import Floats
from services.shared.models.store import ModelStore
from tests.services.asr.sound_parts import at_level, coloured, over_the_telephone
from tests.services.asr.sounds import RATE, joined, recording, silence, transcripts, words_of
from tests.services.asr.sounds_without_speech import sounds_without_speech

pytestmark = pytest.mark.models

TEXTS = {name: text for name, text in transcripts().items() if name != "jfk.flac"}
USUALLY_MS, TOLERANCE_MS = 50, 350
"""Of half and of four fifths of the words beside a pause; also told in services/asr/README.md."""


@pytest.fixture(scope="module")
def engine(model_store: ModelStore) -> Iterator[WhisperEngine]:
    made = WhisperEngine(EngineConfig(), model_store)
    made.load()
    yield made
    made.close()


def hear(engine: WhisperEngine, audio: Floats, **options: Any) -> Hypothesis:
    [answer] = engine.transcribe([DecodeRequest(audio, True, **options)])
    assert isinstance(answer, Hypothesis), answer
    return answer


def spoken_ms(audio: Floats) -> tuple[int, int]:
    """Where a recording becomes loud and where it has become quiet."""
    power = np.square(audio[: len(audio) // 160 * 160]).reshape(-1, 160).mean(axis=1)
    loud = np.flatnonzero(power > power.max() / 1000)
    return int(loud[0]) * 10, int(loud[-1] + 1) * 10


def noisy_telephone(name: str) -> Floats:
    """A recording in noise 10 dB below it, on a telephone line."""
    clean = recording(name)
    level = 10 * float(np.log10(np.mean(np.square(clean)))) - 10
    noise = coloured(len(clean) // 16 + 1, np.random.default_rng(2), 1.0)[: len(clean)]
    return over_the_telephone((clean + at_level(noise, level)).astype(np.float32))


@pytest.mark.parametrize("telephone", [False, True])
def test_words_are_where_they_were_said(engine: WhisperEngine, telephone: bool) -> None:
    starts, ends = [], []
    for number, name in enumerate(TEXTS):
        audio, pause_ms = recording(name), 400 + 100 * number
        first, last = (pause_ms + ms for ms in spoken_ms(audio))
        shifted = joined(silence(pause_ms), audio, silence(pause_ms))
        if telephone:
            shifted = over_the_telephone(shifted)
        words = hear(engine, shifted, word_timestamps=True).words
        starts.append(abs(words[0].start_ms - first))
        ends.append(abs(words[-1].end_ms - last))
        assert all(0 < word.confidence <= 1 for word in words)
    for differences in (starts, ends):
        assert np.median(differences) <= USUALLY_MS
        assert np.quantile(differences, 0.8) <= TOLERANCE_MS


def test_no_word_lies_in_a_pause(engine: WhisperEngine) -> None:
    """Three sentences with pauses of a second: each one's words are where it was said."""
    names = ["vm-passchanged.flac", "confbridge-only-one.flac", "vm-helpexit.flac"]
    parts = [joined(recording(name), silence(1000)) for name in names]
    words = list(hear(engine, joined(*parts), word_timestamps=True).words)
    at = 0
    for name, part in zip(names, parts, strict=True):
        first, last = (at + ms for ms in spoken_ms(part))
        own = [words.pop(0) for _ in words_of(TEXTS[name])]
        assert words_of(" ".join(word.word for word in own)) == words_of(TEXTS[name])
        assert abs(own[0].start_ms - first) <= TOLERANCE_MS
        assert abs(own[-1].end_ms - last) <= TOLERANCE_MS
        at += len(part) * 1000 // RATE
    assert not words


@pytest.mark.slow
def test_company_of_other_lengths_and_hints_changes_nothing(engine: WhisperEngine) -> None:
    audios = [recording(name) for name in TEXTS]
    hints: list[dict[str, Any]] = [{}, {"hotwords": ("password",)}, {"prompt": "Password"}]
    requests = [
        DecodeRequest(audio, final, word_timestamps=final, **hints[number % 3])
        for number, audio in enumerate(audios[:6])
        for final in (True, False)
    ]
    batches = defaultdict(list)
    for request in requests:
        batches[engine.batch_key(request)].append(request)
    assert max(map(len, batches.values())) >= 2
    for batch in batches.values():
        for request, answer in zip(batch, engine.transcribe(batch), strict=True):
            [alone] = engine.transcribe([request])
            assert isinstance(answer, Hypothesis)
            assert isinstance(alone, Hypothesis)
            assert answer.text == alone.text
            assert answer.suppressed == alone.suppressed
            assert answer.confidence == pytest.approx(alone.confidence, abs=0.02)
            for mine, other in zip(answer.words, alone.words, strict=True):
                assert mine.word == other.word
                assert abs(mine.start_ms - other.start_ms) <= 20


@pytest.mark.parametrize("hints", [{"hotwords": ("password",)}, {"prompt": "Password."}])
def test_hints_correct_a_misheard_word(engine: WhisperEngine, hints: dict[str, Any]) -> None:
    name = "vm-invalidpassword.flac"
    audio = noisy_telephone(name)
    assert "password" not in words_of(hear(engine, audio).text)
    assert words_of(hear(engine, audio, **hints).text) == words_of(TEXTS[name])


@pytest.mark.parametrize(
    "hints",
    [
        {"hotwords": ("password", "IBAN", "Nguyen")},
        {"prompt": "A call to the bank about a transfer."},
        {"prompt": "My name is Nguyen.", "hotwords": ("Nguyen",)},
    ],
    ids=["hotwords", "prompt", "both"],
)
def test_hints_are_not_heard_in_sounds(engine: WhisperEngine, hints: dict[str, Any]) -> None:
    sounds = sounds_without_speech()
    for name in ("silence", "strings", "beep"):
        audio = sounds[name](3000, np.random.default_rng(9)).astype(np.float32)
        answer = hear(engine, audio, **hints)
        assert answer.text == "", name
        assert answer.suppressed
