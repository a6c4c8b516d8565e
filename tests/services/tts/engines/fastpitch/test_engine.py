"""FastPitch on torch: voices of several models, refusals, times, interrupts."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.shared.models.store import ModelStore
from services.tts.config import (
    EnginesConfig,
    FastPitchEngineConfig,
    FastPitchVoiceConfig,
    PiperEngineConfig,
)
from services.tts.engines.base import (
    EngineError,
    EngineLost,
    EngineUnavailable,
    Floats,
    SynthesisRequest,
    WordTime,
)
from services.tts.engines.fastpitch.engine import FastPitchEngine, FastPitchSource
from services.tts.engines.fastpitch.nemo import load_fastpitch
from services.tts.engines.fastpitch.script import ScriptReader
from services.tts.engines.fastpitch.speech import whole_frames
from services.tts.engines.fastpitch.tokens import Tokeniser
from services.tts.engines.interrupt import Interrupt, interrupted_by
from services.tts.engines.registry import create_engines
from tests.services.tts.engines.fastpitch.models import HOP, SAMPLE_RATE

TEXT = "Hello there, how are you? Well-known airports."
VIETNAMESE = "Xin chào các bạn, tôi có ba quả táo."


def spoken(engine: FastPitchEngine, text: str, voice: str, **more: Any) -> Floats:
    request = SynthesisRequest(text, voice, **more)
    return np.concatenate([piece.samples for piece in engine.synthesize(request)])


def source(folder: Path, model: str, vocoder: str, **more: Any) -> FastPitchSource:
    paths = str(folder / f"{model}.nemo"), str(folder / vocoder)
    return FastPitchSource("x", "X", *paths, "en-US", "none", **more)


def test_no_voice_is_no_engine() -> None:
    with pytest.raises(EngineUnavailable, match="at least one voice"):
        FastPitchEngine([])


def test_the_configuration_makes_it() -> None:
    voice = FastPitchVoiceConfig(
        id="v", name="V", model="v.nemo", vocoder="b", language="vi-VN", licence="none"
    )
    config = EnginesConfig(
        piper=PiperEngineConfig(enabled=False),
        fastpitch=FastPitchEngineConfig(enabled=True, voices=(voice,), lanes=2),
    )
    [engine] = create_engines(config, ModelStore())
    assert engine.name == "fastpitch"
    assert engine.capabilities.languages == ("vi-VN",)
    assert engine.capabilities.lanes == 2


@pytest.mark.nemo
def test_voices_of_several_models_in_turn(fastpitch_engine: FastPitchEngine) -> None:
    texts = {"arpabet": TEXT, "ipa": TEXT, "vietnamese": VIETNAMESE}
    alone = {voice: spoken(fastpitch_engine, text, voice) for voice, text in texts.items()}
    assert not np.array_equal(alone["arpabet"], alone["ipa"])
    streams = {
        voice: fastpitch_engine.synthesize(SynthesisRequest(text, voice))
        for voice, text in texts.items()
    }
    got: dict[str, list[Floats]] = {voice: [] for voice in texts}
    for _ in range(40):
        for voice, stream in streams.items():
            if piece := next(stream, None):
                got[voice].append(piece.samples)
    for voice, pieces in got.items():
        assert len(pieces) > 2
        np.testing.assert_array_equal(np.concatenate(pieces), alone[voice])


@pytest.mark.nemo
def test_words_last_as_long_as_their_tokens(
    fastpitch_engine: FastPitchEngine, fastpitch_files: Path
) -> None:
    request = SynthesisRequest("Xin chào.", "vietnamese", speed=0.8)
    words = [word for piece in fastpitch_engine.synthesize(request) for word in piece.words]
    model = load_fastpitch(fastpitch_files / "vietnamese.nemo", "cpu")
    [run] = ScriptReader(Tokeniser(model.table), "vi-VN").runs(request.text)
    _, durations = model.encoder(model.model.parse("Xin chào."), None)
    ends = np.cumsum(whole_frames(durations[0].numpy(), 0.8)) * HOP * 1000 // SAMPLE_RATE
    # Of " xin chào. ": a space, three letters, a space, four letters, a period, a space.
    assert words == [
        WordTime("Xin", int(ends[0]), int(ends[3])),
        WordTime("chào.", int(ends[4]), int(ends[8])),
    ]


@pytest.mark.nemo
def test_speakers_of_one_model_differ(fastpitch_files: Path) -> None:
    sources = [
        replace(source(fastpitch_files, "ipa", "english", speaker=number), id=f"s{number}")
        for number in range(3)
    ]
    engine = FastPitchEngine(sources, device="cpu", threads=1)
    engine.load()
    audio = [spoken(engine, "Hello.", f"s{number}") for number in range(3)]
    assert len({len(one) for one in audio} | {one.tobytes() for one in audio}) >= 4
    assert len({voice.version for voice in engine.voices()}) == 3


@pytest.mark.nemo
@pytest.mark.parametrize(
    ("model", "vocoder", "more", "told"),
    [
        ("arpabet", "full", {}, "fmax 8000 ≠ 11025"),
        ("vietnamese", "english", {}, "fmax 11025 ≠ 8000"),
        ("ipa", "english", {"speaker": 3}, "has 3 speakers; number 3 is none"),
        ("arpabet", "english", {"speaker": 1}, "has 1 speakers; number 1 is none"),
        ("arpabet", "none", {}, "does not exist"),
    ],
)
def test_what_does_not_fit_is_refused(
    fastpitch_files: Path, model: str, vocoder: str, more: dict[str, Any], told: str
) -> None:
    engine = FastPitchEngine([source(fastpitch_files, model, vocoder, **more)], device="cpu")
    with pytest.raises(EngineUnavailable, match=told):
        engine.load()


@pytest.mark.nemo
def test_a_device_that_is_not_there(fastpitch_files: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is CUDA")
    engine = FastPitchEngine([source(fastpitch_files, "arpabet", "english")], device="cuda")
    with pytest.raises(EngineUnavailable, match="there is no CUDA"):
        engine.load()


@pytest.mark.nemo
def test_an_interrupt_ends_a_piece_that_is_being_made(fastpitch_engine: FastPitchEngine) -> None:
    alone = spoken(fastpitch_engine, TEXT, "arpabet")
    interrupt = Interrupt()
    stream = fastpitch_engine.synthesize(SynthesisRequest(TEXT * 5, "arpabet"))
    timer = threading.Timer(0.05, interrupt.raise_)
    with interrupted_by(interrupt), pytest.raises(EngineError, match="interrupted"):
        timer.start()
        for _ in stream:
            pass
    timer.join()
    np.testing.assert_array_equal(spoken(fastpitch_engine, TEXT, "arpabet"), alone)


@pytest.mark.nemo
@pytest.mark.parametrize(
    ("message", "kind"),
    [("CUDA error: device-side assert triggered", EngineLost), ("shapes differ", EngineError)],
)
def test_a_lost_device_is_told_from_a_bad_text(
    fastpitch_files: Path, message: str, kind: type[EngineError]
) -> None:
    engine = FastPitchEngine([source(fastpitch_files, "arpabet", "english")], device="cpu")
    engine.load()

    def fail(*_: object) -> None:
        raise RuntimeError(message)

    acoustic: Any = engine._voices["x"].speaker.acoustic
    acoustic._model.encoder.register_forward_pre_hook(fail)
    with pytest.raises(EngineError, match=message) as caught:
        spoken(engine, "Hello.", "x")
    assert type(caught.value) is kind
