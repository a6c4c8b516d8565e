"""What every engine promises; each engine runs through all of it."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from services.shared.models.download import Downloader
from services.shared.models.store import ModelStore
from services.shared.protocol.base import ErrorCode
from services.tts.config import (
    EnginesConfig,
    FakeEngineConfig,
    KokoroEngineConfig,
    PiperEngineConfig,
)
from services.tts.engines.base import (
    AudioPiece,
    EngineError,
    Floats,
    ReadWord,
    SynthesisRequest,
    TtsEngine,
)
from services.tts.engines.registry import create_engines

TEXTS = (
    "Hello there, how are you today?",
    "Yes.",
    "I have 42 apples, don't I? It's $3.50 at 10:30 a.m. — call me.",
    'Dr. Smith said: "of the people, by the people" (in the end).',
)
SILENT = ("", " ", "\n\t", "...", "—", "?!", "😀 🎉", "\u200b")


KOKORO = (pytest.mark.models, pytest.mark.slow, pytest.mark.timeout(600))
"""Its first run fetches 120 MB; then the suite takes a minute and a half on two cores."""


@pytest.fixture(
    scope="module",
    params=[
        "fake",
        "fake isolated",
        pytest.param("piper", marks=pytest.mark.models),
        pytest.param("piper isolated", marks=[pytest.mark.models, pytest.mark.slow]),
        pytest.param("kokoro", marks=KOKORO),
        pytest.param("chatterbox", marks=pytest.mark.chatterbox),
        pytest.param("fastpitch", marks=pytest.mark.nemo),
        "fastpitch_onnx",
    ],
)
def engine(request: pytest.FixtureRequest) -> Iterator[TtsEngine]:
    name, isolated = request.param.split()[0], request.param.endswith("isolated")
    if name == "fake":
        config = EnginesConfig(
            fake=FakeEngineConfig(enabled=True, isolated=isolated),
            piper=PiperEngineConfig(enabled=False),
        )
        [made] = create_engines(config, ModelStore())
    elif name == "kokoro":
        config = EnginesConfig(
            kokoro=KokoroEngineConfig(enabled=True), piper=PiperEngineConfig(enabled=False)
        )
        store: ModelStore = request.getfixturevalue("model_store")
        Downloader(store).download(["kokoro-82m-int8", "kokoro-voices"])
        [made] = create_engines(config, store)
    elif name in ("chatterbox", "fastpitch", "fastpitch_onnx"):
        made = request.getfixturevalue(f"{name}_engine")
    else:
        config = EnginesConfig(piper=PiperEngineConfig(isolated=isolated))
        [made] = create_engines(config, request.getfixturevalue("model_store"))
    made.load()
    made.warm_up()
    yield made
    made.close()


def ask(engine: TtsEngine, text: str, **changes: object) -> SynthesisRequest:
    request = SynthesisRequest(text, engine.voices()[0].id, seed=7)
    return replace(request, **changes)  # type: ignore[arg-type]


def speak(engine: TtsEngine, text: str, **changes: object) -> list[AudioPiece]:
    return list(engine.synthesize(ask(engine, text, **changes)))


def joined(pieces: list[AudioPiece]) -> Floats:
    return np.concatenate([piece.samples for piece in pieces])


def test_voices_say_what_they_are(engine: TtsEngine) -> None:
    voices = engine.voices()
    assert voices
    assert len({voice.id for voice in voices}) == len(voices)
    for voice in voices:
        assert voice.engine == engine.name
        assert voice.language in engine.capabilities.languages
        assert 8000 <= voice.sample_rate <= 48_000
        assert voice.licence


@pytest.mark.parametrize("text", TEXTS)
def test_audio_is_sound_that_does_not_clip(engine: TtsEngine, text: str) -> None:
    pieces = speak(engine, text)
    for piece in pieces:
        assert piece.samples.dtype == np.float32
        assert piece.samples.ndim == 1
        assert len(piece.samples)
    audio = joined(pieces)
    assert np.isfinite(audio).all()
    assert 0.1 < np.abs(audio).max() < 1.0
    seconds = len(audio) / engine.voices()[0].sample_rate
    assert 0.02 * len(text) < seconds < 0.5 + 0.2 * len(text)


@pytest.mark.parametrize("text", TEXTS)
def test_each_word_is_timed_once_in_order_and_within_the_audio(
    engine: TtsEngine, text: str
) -> None:
    pieces = speak(engine, text)
    words = [word for piece in pieces for word in piece.words]
    assert [word.word for word in words] == [word for word in text.split() if word != "—"]
    at = 0
    for word in words:
        assert at <= word.start_ms < word.end_ms
        at = word.end_ms
    assert at <= len(joined(pieces)) * 1000 // engine.voices()[0].sample_rate


def test_words_are_told_as_they_were_written(engine: TtsEngine) -> None:
    written = {"He": "He", "paid": "paid", "$3 million,": "three million dollars,", "now.": "now."}
    request = SynthesisRequest(
        " ".join(written.values()),
        engine.voices()[0].id,
        words=tuple(ReadWord(*pair) for pair in written.items()),
    )
    words = [word for piece in engine.synthesize(request) for word in piece.words]
    assert [word.word for word in words] == list(written)
    assert all(word.end_ms <= after.start_ms for word, after in pairwise(words))
    if engine.name != "chatterbox":  # its weights are random here: it looks anywhere in the text
        longest = max(words, key=lambda word: word.end_ms - word.start_ms)
        assert longest.word == "$3 million,"


def test_a_word_comes_with_the_piece_in_which_it_begins(engine: TtsEngine) -> None:
    rate = engine.voices()[0].sample_rate
    sent = 0
    pieces = speak(engine, TEXTS[2])
    assert len(pieces) > 1
    for piece in pieces:
        begin_ms, end_ms = sent * 1000 // rate, (sent + len(piece.samples)) * 1000 // rate
        assert all(begin_ms <= word.start_ms <= end_ms for word in piece.words)
        sent += len(piece.samples)


@pytest.mark.parametrize("text", SILENT)
def test_nothing_to_speak_gives_no_audio(engine: TtsEngine, text: str) -> None:
    assert speak(engine, text) == []


@pytest.mark.parametrize(
    ("changes", "code", "told"),
    [
        ({"voice": "nobody"}, ErrorCode.UNKNOWN_VOICE, "known are"),
        ({"language": "fr-FR"}, ErrorCode.UNSUPPORTED_LANGUAGE, "fr-FR"),
        ({"text": "a" * 100_000}, ErrorCode.TEXT_TOO_LONG, "100000"),
        ({"speed": 9.0}, ErrorCode.INVALID_MESSAGE, "speed"),
    ],
)
def test_an_impossible_request_fails_with_a_reason(
    engine: TtsEngine, changes: dict[str, object], code: ErrorCode, told: str
) -> None:
    stream = engine.synthesize(replace(ask(engine, "Hello."), **changes))  # type: ignore[arg-type]
    with pytest.raises(EngineError, match=told) as caught:
        next(stream)
    assert caught.value.code is code


def test_the_language_may_be_named_without_its_region(engine: TtsEngine) -> None:
    assert speak(engine, "Yes.", language=engine.voices()[0].language.split("-")[0])


def test_equal_seeds_give_equal_audio(engine: TtsEngine) -> None:
    first, second = (joined(speak(engine, TEXTS[0])) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_streams_that_take_turns_do_not_touch_each_other(engine: TtsEngine) -> None:
    alone = [joined(speak(engine, text)) for text in TEXTS]
    streams = [engine.synthesize(ask(engine, text)) for text in TEXTS]
    got: list[list[Floats]] = [[] for _ in TEXTS]
    running = set(range(len(TEXTS)))
    while running:
        for number in sorted(running):
            piece = next(streams[number], None)
            if piece is None:
                running.remove(number)
            else:
                got[number].append(piece.samples)
    for audio, expected in zip(got, alone, strict=True):
        np.testing.assert_array_equal(np.concatenate(audio), expected)


def test_a_closed_stream_ends_and_leaves_the_engine_usable(engine: TtsEngine) -> None:
    stream = engine.synthesize(ask(engine, TEXTS[2]))
    next(stream)
    stream.close()
    assert next(stream, None) is None
    assert speak(engine, "Yes.")


def test_faster_is_shorter(engine: TtsEngine) -> None:
    normal = len(joined(speak(engine, TEXTS[0])))
    fast = len(joined(speak(engine, TEXTS[0], speed=1.5)))
    slow = len(joined(speak(engine, TEXTS[0], speed=0.75)))
    assert normal / fast == pytest.approx(1.5, rel=0.12)
    assert slow / normal == pytest.approx(1 / 0.75, rel=0.12)


def test_text_of_the_greatest_length_is_spoken(engine: TtsEngine) -> None:
    text = "word " * (engine.capabilities.max_characters // 5)
    pieces = speak(engine, text, speed=4.0)
    assert len([word for piece in pieces for word in piece.words]) == len(text.split())
