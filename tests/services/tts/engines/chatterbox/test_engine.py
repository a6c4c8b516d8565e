"""The engine with real networks, small and with random weights."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from services.shared.media.decode import decode_audio
from services.shared.protocol.base import ErrorCode
from services.tts.engines.base import (
    AudioPiece,
    Conditioning,
    EngineError,
    EngineLost,
    EngineUnavailable,
    Floats,
    SynthesisRequest,
)
from services.tts.engines.chatterbox.engine import ChatterboxEngine, ChatterboxSource, Manner
from services.tts.engines.chatterbox.guard import TokenBudget
from services.tts.engines.interrupt import Interrupt, interrupted_by

pytestmark = [
    pytest.mark.chatterbox,
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

TEXT = "Hello there, how are you today?"
RATE = 24_000


def ask(text: str = TEXT, **changes: Any) -> SynthesisRequest:
    return replace(SynthesisRequest(text, "chatterbox", seed=3), **changes)


def joined(pieces: list[AudioPiece]) -> Floats:
    return np.concatenate([piece.samples for piece in pieces])


def speak(engine: ChatterboxEngine, request: SynthesisRequest) -> Floats:
    return joined(list(engine.synthesize(request)))


def cloned(library: Any, seed: int) -> Conditioning:
    return Conditioning(f"c{seed}", "random", library.random_voice(seed, 25 + seed).as_mapping())


@pytest.fixture
def two_voices(chatterbox_library: Any) -> tuple[SynthesisRequest, SynthesisRequest]:
    one, other = (
        ask(voice=f"v{seed}", conditioning=cloned(chatterbox_library, seed)) for seed in (5, 6)
    )
    return one, other


# Whose voice it is.


def test_two_voices_in_turns_sound_as_alone(
    chatterbox_engine: ChatterboxEngine, two_voices: tuple[SynthesisRequest, SynthesisRequest]
) -> None:
    alone = [speak(chatterbox_engine, request) for request in two_voices]
    assert np.abs(alone[0][:9000] - alone[1][:9000]).max() > 0.01
    streams = [chatterbox_engine.synthesize(request) for request in two_voices]
    turns = list(zip_longest(*streams))
    for number, expected in enumerate(alone):
        pieces = [turn[number] for turn in turns if turn[number] is not None]
        np.testing.assert_array_equal(joined(pieces), expected)


def test_voices_in_lanes_sound_as_alone(
    chatterbox_engine: ChatterboxEngine, two_voices: tuple[SynthesisRequest, SynthesisRequest]
) -> None:
    requests = [*two_voices, ask(), ask("Something else.")]
    alone = [speak(chatterbox_engine, request) for request in requests]
    with ThreadPoolExecutor(4) as lanes:
        more = [*requests, *two_voices]  # than there are lanes: some join in between
        together = list(lanes.map(lambda each: speak(chatterbox_engine, each), more))
    for audio, expected in zip(together, [*alone, *alone[:2]], strict=True):
        np.testing.assert_array_equal(audio, expected)


def test_a_voice_for_other_weights_is_refused(
    chatterbox_engine: ChatterboxEngine, chatterbox_library: Any
) -> None:
    old = replace(cloned(chatterbox_library, 5), version="older")
    with pytest.raises(EngineError, match=r"other weights \(older\)"):
        speak(chatterbox_engine, ask(voice="v", conditioning=old))


def test_a_cloned_voice_speaks_the_model_s_languages_only(
    chatterbox_engine: ChatterboxEngine, chatterbox_library: Any
) -> None:
    request = ask(voice="v", conditioning=cloned(chatterbox_library, 5), language="vi-VN")
    with pytest.raises(EngineError, match="does not speak vi-VN") as caught:
        speak(chatterbox_engine, request)
    assert caught.value.code is ErrorCode.UNSUPPORTED_LANGUAGE


@pytest.mark.timeout(120)
def test_a_voice_is_made_from_speech_and_speaks(chatterbox_engine: ChatterboxEngine) -> None:
    assert chatterbox_engine.capabilities.cloning
    reference = decode_audio(
        Path("tests/data/speech/jfk.flac"), sample_rate=16_000, max_duration_s=60
    )
    tensors = chatterbox_engine.condition(reference, 16_000)
    voice = Conditioning("jfk", chatterbox_engine.conditioning_version, tensors)
    own = speak(chatterbox_engine, ask(voice="jfk", conditioning=voice))
    assert len(own) > RATE
    assert np.abs(own[:9000] - speak(chatterbox_engine, ask())[:9000]).max() > 0.01


def test_the_manner_is_heard(chatterbox_models: Any, chatterbox_engine: ChatterboxEngine) -> None:
    sources = [
        ChatterboxSource("chatterbox", "Chatterbox", "en"),
        ChatterboxSource("loud", "Loud", "en", Manner(exaggeration=1.5, cfg_weight=0.1)),
    ]
    engine = ChatterboxEngine(lambda: chatterbox_models, sources, budget=TokenBudget(1.0, 0.0))
    engine.load()
    plain, loud = (speak(engine, ask(voice=each.id)) for each in engine.voices())
    assert not np.array_equal(plain, loud)
    versions = [voice.version for voice in engine.voices()]
    assert versions[0] != versions[1]
    engine.close()


# How it begins and ends.


def test_audio_begins_before_the_speech_is_made(chatterbox_engine: ChatterboxEngine) -> None:
    assert chatterbox_engine._loaded is not None
    speech = chatterbox_engine._loaded.speech
    before = speech.steps
    pieces = chatterbox_engine.synthesize(ask("word " * 50))
    first = next(pieces)
    assert len(first.samples) == (24 - 8) * 480
    made = speech.steps - before
    pieces.close()
    assert made < 100  # of 630


@pytest.mark.parametrize(("block", "tokens"), [(25, 25), (0, 12)])
def test_the_first_piece_is_a_block(
    chatterbox_library: Any, chatterbox_models: Any, block: int, tokens: int
) -> None:
    # The block is a setting of the network, which the other tests share.
    models = replace(chatterbox_models, s3gen=chatterbox_library.small_s3gen())
    sources = [ChatterboxSource("chatterbox", "Chatterbox", "en")]
    engine = ChatterboxEngine(lambda: models, sources, budget=TokenBudget(4.0, 0.0), block=block)
    engine.load()
    first, second, *_ = list(engine.synthesize(ask()))
    engine.close()
    assert len(first.samples) == (2 * tokens - 8) * 480
    if block:  # what comes next begins where a block does, and is as much
        assert len(second.samples) == 2 * tokens * 480


def test_a_cancelled_stream_makes_no_more_tokens(chatterbox_engine: ChatterboxEngine) -> None:
    assert chatterbox_engine._loaded is not None
    speech = chatterbox_engine._loaded.speech
    pieces = chatterbox_engine.synthesize(ask("word " * 50))
    next(pieces)
    pieces.close()
    time.sleep(0.1)
    made = speech.steps
    time.sleep(0.2)
    assert speech.steps == made


def test_an_interrupt_ends_what_is_running(chatterbox_engine: ChatterboxEngine) -> None:
    interrupt = Interrupt()
    pieces = chatterbox_engine.synthesize(ask("word " * 50, speed=0.25))
    with interrupted_by(interrupt):
        next(pieces)
        timer = threading.Timer(0.05, interrupt.raise_)
        timer.start()
        with pytest.raises(EngineError, match="cancelled"):
            for _ in pieces:
                pass
        timer.join()
    assert len(speak(chatterbox_engine, ask("Yes.")))


def test_what_ends_at_once_is_tried_again(
    chatterbox_engine: ChatterboxEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert chatterbox_engine._loaded is not None
    speech = chatterbox_engine._loaded.speech
    began: list[int] = []
    original = speech._begin

    def begin(text: Any, voice: Any, manner: Any, seed: int, budget: int) -> Any:
        began.append(seed)
        return original(text, voice, manner, seed, 5 if len(began) == 1 else budget)

    monkeypatch.setattr(speech, "_begin", begin)
    audio = speak(chatterbox_engine, ask())
    assert began == [3, 4]
    assert len(audio) > RATE


def test_a_model_that_fails_tells_why(
    chatterbox_engine: ChatterboxEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert chatterbox_engine._loaded is not None
    flow = chatterbox_engine._loaded.models.s3gen.flow

    def fail(*_: object) -> None:
        raise RuntimeError(message)

    for message, kind in (
        ("shapes cannot be multiplied", EngineError),
        ("CUDA error: an illegal memory access was encountered", EngineLost),
    ):
        with monkeypatch.context() as patch, pytest.raises(kind) as caught:
            patch.setattr(flow.encoder, "forward", fail)
            speak(chatterbox_engine, ask())
        assert message in caught.value.message
    assert len(speak(chatterbox_engine, ask("Yes.")))


def test_an_engine_that_is_not_loaded_says_so(chatterbox_models: Any) -> None:
    engine = ChatterboxEngine(
        lambda: chatterbox_models, [ChatterboxSource("chatterbox", "Chatterbox", "en")]
    )
    with pytest.raises(EngineError, match="not loaded"):
        speak(engine, ask())
    engine.close()


def test_a_model_without_its_voice_says_so(chatterbox_models: Any) -> None:
    bare = replace(chatterbox_models, builtin=None)
    engine = ChatterboxEngine(lambda: bare, [ChatterboxSource("chatterbox", "Chatterbox", "en")])
    with pytest.raises(EngineUnavailable, match=r"no conds\.pt"):
        engine.load()


def test_a_language_that_the_model_lacks_is_refused() -> None:
    source = ChatterboxSource("linh", "Linh", "vi-VN")
    with pytest.raises(EngineUnavailable, match="does not speak vi-VN"):
        ChatterboxEngine(lambda: pytest.fail("not loaded"), [source], multilingual=True)


# The multilingual model.


@pytest.fixture(scope="module")
def multilingual(
    chatterbox_library: Any, watermarker: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ChatterboxEngine]:
    models = chatterbox_library.random_models(
        tmp_path_factory.mktemp("multilingual"), watermarker, multilingual=True
    )
    engine = ChatterboxEngine(
        lambda: models,
        [ChatterboxSource("anna", "Anna", "de-DE"), ChatterboxSource("chatterbox", "C", "en")],
        multilingual=True,
        budget=TokenBudget(0.3, 0.1),
    )
    engine.load()
    yield engine
    engine.close()


def test_the_multilingual_model_speaks_and_leaves_no_hook(multilingual: ChatterboxEngine) -> None:
    assert multilingual._loaded is not None
    assert multilingual.capabilities.languages[:3] == ("de-DE", "en", "ar")
    assert len(multilingual.capabilities.languages) == 24
    audio = speak(multilingual, ask("Guten Tag, wie geht es Ihnen?", voice="anna"))
    assert len(audio) > RATE // 4
    assert not any(module._forward_hooks for module in multilingual._loaded.models.t3.modules())


def test_the_language_is_part_of_what_is_said(
    multilingual: ChatterboxEngine, chatterbox_library: Any
) -> None:
    voice = cloned(chatterbox_library, 5)
    german, english = (
        speak(
            multilingual,
            ask("So far, so good, so what.", voice="v", conditioning=voice, language=language),
        )
        for language in ("de", "en")
    )
    assert not np.array_equal(german, english)


# For long.


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_memory_stays_flat_over_200_calls(chatterbox_engine: ChatterboxEngine) -> None:
    process = psutil.Process()
    sizes = []
    for number in range(200):
        stream = chatterbox_engine.synthesize(ask(f"Call number {number}.", seed=number))
        for count, _ in enumerate(stream):
            if number % 5 == 0 and count == 1:
                break  # some listeners hang up
        stream.close()
        sizes.append(process.memory_info().rss)
    assert max(sizes[150:]) - max(sizes[50:100]) < 8 << 20
