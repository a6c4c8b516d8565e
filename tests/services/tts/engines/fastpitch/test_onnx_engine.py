"""FastPitch on onnxruntime: streams, speakers, damaged folders."""

import json
import threading
from pathlib import Path

import numpy as np
import pytest

from services.shared.models.store import ModelStore
from services.tts.config import (
    EnginesConfig,
    ExportedVoiceConfig,
    FastPitchOnnxEngineConfig,
    PiperEngineConfig,
)
from services.tts.engines.base import (
    EngineError,
    EngineUnavailable,
    Floats,
    SynthesisRequest,
    TtsEngine,
)
from services.tts.engines.fastpitch import speech
from services.tts.engines.fastpitch.onnx_engine import ExportedSource, FastPitchOnnxEngine
from services.tts.engines.interrupt import Interrupt, interrupted_by
from services.tts.engines.registry import create_engines
from tests.services.tts.engines.fastpitch.graphs import LETTERS, RATE, write_small_voice
from tests.services.tts.engines.fastpitch.test_pronunciation import pronouncer

TEXT = "Hello there, how are you today? I am well, and you?"


def load(folder: Path, *speakers: int, language: str = "en-US") -> FastPitchOnnxEngine:
    engine = FastPitchOnnxEngine(
        [
            ExportedSource(f"s{number}", "S", folder, language, "none", speaker=number)
            for number in speakers or (0,)
        ]
    )
    engine.load()
    return engine


def spoken(engine: TtsEngine, text: str = TEXT, voice: str = "s0") -> Floats:
    return np.concatenate(
        [piece.samples for piece in engine.synthesize(SynthesisRequest(text, voice))]
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_voice(tmp_path_factory.mktemp("voice"))


def test_audio_begins_before_the_sentence_is_made(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = load(folder)
    pieces = [piece.samples for piece in engine.synthesize(SynthesisRequest(TEXT, "s0"))]
    assert len(pieces[0]) == speech.FIRST_WINDOWS[0] * 256 < RATE // 4
    monkeypatch.setattr(speech, "FIRST_WINDOWS", (10_000,))
    one_shot = [piece.samples for piece in engine.synthesize(SynthesisRequest(TEXT, "s0"))]
    assert len(one_shot) < len(pieces)
    np.testing.assert_allclose(np.concatenate(pieces), np.concatenate(one_shot), atol=1e-5)


def test_the_configuration_makes_it(folder: Path) -> None:
    voice = ExportedVoiceConfig(
        id="s0", name="S", model=folder, language="en-US", licence="none", gain_db=-6
    )
    config = EnginesConfig(
        piper=PiperEngineConfig(enabled=False),
        fastpitch_onnx=FastPitchOnnxEngineConfig(enabled=True, voices=(voice,)),
    )
    [engine] = create_engines(config, ModelStore())
    engine.load()
    quiet, loud = np.abs(spoken(engine)).max(), np.abs(spoken(load(folder))).max()
    assert quiet == pytest.approx(loud * 10 ** (-6 / 20), rel=0.05)
    engine.close()


def test_speakers_of_one_folder_differ(tmp_path: Path) -> None:
    engine = load(write_small_voice(tmp_path, speakers=3), 0, 2)
    assert not np.array_equal(spoken(engine, voice="s0"), spoken(engine, voice="s2"))
    versions = {voice.version for voice in engine.voices()}
    assert len(versions) == 2


def test_a_voice_that_reads_phonemes(tmp_path: Path) -> None:
    reader = pronouncer("arpabet")
    symbols = sorted({one for said in reader.entries.values() for one in said or ()})
    table = LETTERS.model_copy(
        update={"ids": LETTERS.ids | {one: 50 + number for number, one in enumerate(symbols)}}
    )
    engine = load(write_small_voice(tmp_path, table=table, pronouncer=reader))
    # "hello" is four phonemes of six frames between two spaces of three.
    assert len(spoken(engine, "hello")) == (4 * 6 + 2 * 3) * 256
    assert len(spoken(engine, "read")) == (4 * 6 + 2 * 3) * 256
    (tmp_path / "dictionary.json").write_text("{}")
    with pytest.raises(EngineUnavailable, match=r"dictionary\.json"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["encoder.onnx", "decoder.onnx", "vocoder.onnx", "voice.json"])
def test_missing_and_damaged_files_are_named(tmp_path: Path, name: str) -> None:
    write_small_voice(tmp_path)
    (tmp_path / name).write_bytes(b"not a model at all")
    with pytest.raises(EngineUnavailable, match=name):
        load(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(EngineUnavailable, match=name):
        load(tmp_path)


def test_a_later_format_is_refused(tmp_path: Path) -> None:
    write_small_voice(tmp_path)
    manifest = json.loads((tmp_path / "voice.json").read_text())
    (tmp_path / "voice.json").write_text(json.dumps(manifest | {"format": 2}))
    with pytest.raises(EngineUnavailable, match="format"):
        load(tmp_path)


def test_another_language_or_speaker_is_refused(folder: Path) -> None:
    with pytest.raises(EngineUnavailable, match="speaks en-US, not vi-VN"):
        load(folder, language="vi-VN")
    with pytest.raises(EngineUnavailable, match="number 1 is none"):
        load(folder, 1)


def test_the_version_follows_the_weights(tmp_path: Path) -> None:
    write_small_voice(tmp_path)
    before = load(tmp_path).voices()[0].version
    write_small_voice(tmp_path, speakers=2)
    assert load(tmp_path).voices()[0].version != before


def test_an_interrupt_ends_the_stream(folder: Path) -> None:
    engine = load(folder)
    interrupt = Interrupt()
    stream = engine.synthesize(SynthesisRequest(TEXT * 10, "s0"))
    with interrupted_by(interrupt):
        next(stream)
        interrupt.raise_()
        with pytest.raises(EngineError):
            next(stream)


def test_several_lanes_give_what_one_gives(folder: Path) -> None:
    engine = load(folder)
    expected = spoken(engine)
    got: list[Floats] = []
    threads = [threading.Thread(target=lambda: got.append(spoken(engine))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 4
    for audio in got:
        np.testing.assert_array_equal(audio, expected)
