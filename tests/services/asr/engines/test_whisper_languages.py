"""Finding out the language, and being told it, with a multilingual model."""

from collections.abc import Iterator

import numpy as np
import pytest

from services.asr.config import EngineConfig
from services.asr.engines.base import DecodeRequest, Floats, Hypothesis
from services.asr.engines.whisper import WhisperEngine
from services.shared.models.download import Downloader
from services.shared.models.store import ModelStore
from tests.services.asr.sound_parts import over_the_telephone
from tests.services.asr.sounds import recording, silence, transcripts, words_of
from tests.services.asr.sounds_without_speech import sounds_without_speech

pytestmark = [pytest.mark.models, pytest.mark.slow, pytest.mark.timeout(600)]

NAMES = ["vm-passchanged.flac", "confbridge-only-one.flac", "jfk.flac"]
TEXTS = transcripts()


@pytest.fixture(scope="module")
def engine(model_store: ModelStore) -> Iterator[WhisperEngine]:
    Downloader(model_store).download(["whisper-base"])
    made = WhisperEngine(EngineConfig(model="whisper-base"), model_store)
    made.load()
    yield made
    made.close()


def hear(engine: WhisperEngine, audio: Floats, language: str | None) -> Hypothesis:
    [answer] = engine.transcribe([DecodeRequest(audio, True, language=language)])
    assert isinstance(answer, Hypothesis), answer
    return answer


def test_it_has_many_languages(engine: WhisperEngine) -> None:
    assert {"en", "vi", "de", "ja"} <= set(engine.capabilities.languages)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("telephone", [False, True])
def test_the_language_is_found_out(engine: WhisperEngine, name: str, telephone: bool) -> None:
    audio = over_the_telephone(recording(name)) if telephone else recording(name)
    answer = hear(engine, audio, None)
    assert answer.language == "en"
    if not telephone:  # where base mishears a word of two of them in short context
        assert words_of(answer.text) == words_of(TEXTS[name])
    assert hear(engine, audio, "en") == answer


def test_the_language_that_is_forced_is_written(engine: WhisperEngine) -> None:
    answer = hear(engine, recording(NAMES[1]), "de")
    assert answer.language == "de"
    assert words_of(answer.text) != words_of(TEXTS[NAMES[1]])


def test_callers_of_several_languages_share_a_batch(engine: WhisperEngine) -> None:
    audio = recording(NAMES[1])
    requests = [DecodeRequest(audio, True, language=language) for language in ("en", "de", "fr")]
    assert len({engine.batch_key(request) for request in requests}) == 1
    for request, answer in zip(requests, engine.transcribe(requests), strict=True):
        assert answer == hear(engine, audio, request.language)


def test_detected_and_told_do_not_meet(engine: WhisperEngine) -> None:
    told, detected = (DecodeRequest(silence(900), True, language=each) for each in ("en", None))
    assert engine.batch_key(told) != engine.batch_key(detected)


@pytest.mark.parametrize("language", [None, "en", "vi"])
def test_sounds_are_no_words_in_any_language(engine: WhisperEngine, language: str | None) -> None:
    sounds = sounds_without_speech()
    for name in ("silence", "pink noise -30 dB", "dial tone EU", "hold music", "clicks", "strings"):
        audio = sounds[name](3000, np.random.default_rng(3)).astype(np.float32)
        assert hear(engine, audio, language).text == "", name
