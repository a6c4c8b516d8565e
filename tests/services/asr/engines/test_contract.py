"""What every engine promises; each engine runs through all of it."""

from collections.abc import Iterator

import numpy as np
import pytest

from services.asr.config import EngineConfig
from services.asr.engines.base import AsrEngine, DecodeRequest, EngineError, Floats, Hypothesis
from services.asr.engines.registry import create_engine
from services.asr.engines.streaming import is_streaming
from services.shared.models.store import ModelStore
from tests.services.asr.sounds import RATE, joined, recording, silence, tone

NAMES = ["vm-passchanged.flac", "confbridge-only-one.flac", "vm-helpexit.flac", "demo-nomatch.flac"]


@pytest.fixture(
    scope="module", params=["fake", pytest.param("faster_whisper", marks=pytest.mark.models)]
)
def engine(request: pytest.FixtureRequest) -> Iterator[AsrEngine]:
    if request.param == "fake":
        made = create_engine(EngineConfig(name="fake"), ModelStore())
    else:
        made = create_engine(EngineConfig(), request.getfixturevalue("model_store"))
    assert not is_streaming(made)
    made.load()
    made.warm_up()
    yield made
    made.close()


@pytest.fixture(scope="module")
def speech(engine: AsrEngine) -> list[Floats]:
    """Something that the engine understands, each different."""
    if engine.capabilities.model == "fake":
        return [tone(hertz, 1000 + hertz) for hertz in (400, 700, 1000, 1300)]
    return [recording(name) for name in NAMES]


def hear(engine: AsrEngine, request: DecodeRequest) -> Hypothesis:
    [answer] = engine.transcribe([request])
    assert isinstance(answer, Hypothesis), answer
    return answer


def test_it_says_what_it_can(engine: AsrEngine) -> None:
    can = engine.capabilities
    assert can.model
    assert can.languages
    assert all(2 <= len(language) <= 3 for language in can.languages)
    assert can.max_seconds >= 28
    assert can.max_batch >= 1


@pytest.mark.parametrize("final", [True, False])
def test_speech_gives_text(engine: AsrEngine, speech: list[Floats], final: bool) -> None:
    texts = set()
    for audio in speech:
        answer = hear(engine, DecodeRequest(audio, final))
        assert answer.text == answer.text.strip()
        assert answer.text
        assert answer.suppressed is None
        assert answer.language in engine.capabilities.languages
        assert answer.confidence is not None
        assert 0 < answer.confidence <= 1
        assert answer.words == ()
        texts.add(answer.text)
    assert len(texts) == len(speech)


@pytest.mark.parametrize("final", [True, False])
@pytest.mark.parametrize("timed", [True, False])
def test_company_changes_nothing(
    engine: AsrEngine, speech: list[Floats], final: bool, timed: bool
) -> None:
    """Requests with equal keys give the same in one batch as alone."""
    requests = [DecodeRequest(audio, final, word_timestamps=timed) for audio in speech]
    keys = {engine.batch_key(request) for request in requests}
    assert len(keys) == 1
    together = engine.transcribe(requests)
    alone = [hear(engine, request) for request in requests]
    for one, answer in zip(alone, together, strict=True):
        assert isinstance(answer, Hypothesis)
        assert answer.text == one.text
        assert [word.word for word in answer.words] == [word.word for word in one.words]
        for mine, other in zip(answer.words, one.words, strict=True):
            assert abs(mine.start_ms - other.start_ms) <= 20
            assert abs(mine.end_ms - other.end_ms) <= 20


def test_keys_tell_apart_what_must_not_meet(engine: AsrEngine, speech: list[Floats]) -> None:
    final, partial = (DecodeRequest(speech[0], final) for final in (True, False))
    assert engine.batch_key(final) != engine.batch_key(partial)
    assert hash(engine.batch_key(final)) == hash(engine.batch_key(DecodeRequest(speech[0], True)))


def test_words_have_their_times(engine: AsrEngine, speech: list[Floats]) -> None:
    assert engine.capabilities.word_timestamps
    for audio in speech:
        shifted = joined(silence(1000), audio, silence(500))
        answer = hear(engine, DecodeRequest(shifted, True, word_timestamps=True))
        assert " ".join(word.word for word in answer.words) == answer.text
        at = 0
        for word in answer.words:
            assert at <= word.start_ms <= word.end_ms
            at = word.end_ms
        assert answer.words[0].start_ms >= 600
        assert at <= len(shifted) * 1000 // RATE


@pytest.mark.parametrize("final", [True, False])
def test_a_prefix_is_where_the_text_begins(
    engine: AsrEngine, speech: list[Floats], final: bool
) -> None:
    for audio in speech:
        whole = hear(engine, DecodeRequest(audio, final)).text
        promised = " ".join(whole.split()[:2])
        answer = hear(engine, DecodeRequest(audio, final, prefix=promised))
        assert answer.text.startswith(promised)
        assert len(answer.text) > len(promised)


def test_prefixes_of_several_lengths_in_one_batch(engine: AsrEngine, speech: list[Floats]) -> None:
    wholes = [hear(engine, DecodeRequest(audio, True)).text for audio in speech]
    prefixes = [" ".join(text.split()[:count]) for count, text in enumerate(wholes)]
    requests = [
        DecodeRequest(audio, True, prefix=prefix)
        for audio, prefix in zip(speech, prefixes, strict=True)
    ]
    for request, answer in zip(requests, engine.transcribe(requests), strict=True):
        assert isinstance(answer, Hypothesis)
        assert answer.text.startswith(request.prefix)


@pytest.mark.parametrize("ms", [0, 1, 30, 2000, 28_000])
def test_silence_is_no_text(engine: AsrEngine, ms: int) -> None:
    answer = hear(engine, DecodeRequest(silence(ms), True, word_timestamps=True))
    assert answer.text == ""
    assert answer.suppressed == "no_speech"
    assert answer.words == ()


def test_no_answer_is_endless(engine: AsrEngine) -> None:
    rng = np.random.default_rng(3)
    for level in (0.001, 0.3):
        noise = (rng.normal(0, level, 9 * RATE)).clip(-1, 1).astype(np.float32)
        for final in (True, False):
            assert len(hear(engine, DecodeRequest(noise, final)).text) < 1500


@pytest.mark.slow
def test_the_longest_audio_that_it_takes(engine: AsrEngine, speech: list[Floats]) -> None:
    samples = int(engine.capabilities.max_seconds * RATE)
    once = joined(*speech)
    repeated = np.tile(once, samples // len(once) + 1)
    assert len(hear(engine, DecodeRequest(repeated[:samples], True)).text.split()) > 10
    [answer] = answers_or_error(engine, DecodeRequest(repeated[: samples + 1600], True))
    assert isinstance(answer, EngineError)
    assert "s of audio" in str(answer)


def answers_or_error(engine: AsrEngine, request: DecodeRequest) -> list[Hypothesis | Exception]:
    """An engine may return a failure or raise it."""
    try:
        return engine.transcribe([request])
    except EngineError as error:
        return [error]


def test_the_language_that_is_asked_for_is_told(engine: AsrEngine, speech: list[Floats]) -> None:
    language = engine.capabilities.languages[0]
    assert hear(engine, DecodeRequest(speech[0], True, language=language)).language == language


def test_hints_do_no_harm(engine: AsrEngine, speech: list[Floats]) -> None:
    hints = {"prompt": "A telephone conference. " * 60, "hotwords": ("participant", "pound")}
    request = DecodeRequest(speech[1], True, **hints)  # type: ignore[arg-type]
    plain = DecodeRequest(speech[1], True)
    assert (
        hear(engine, request).text.lower().split()[-2:]
        == (hear(engine, plain).text.lower().split()[-2:])
    )


def test_the_audio_of_a_request_is_left_alone(engine: AsrEngine, speech: list[Floats]) -> None:
    audio = speech[0].copy()
    hear(engine, DecodeRequest(audio, True, word_timestamps=True))
    np.testing.assert_array_equal(audio, speech[0])
