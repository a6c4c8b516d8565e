"""What is special to Kokoro: its symbols, many voices on one model, errors of loading."""

import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from services.shared.models.download import Downloader
from services.shared.models.store import ModelStore
from services.tts.engines.base import EngineUnavailable, Floats, SynthesisRequest, WordTime
from services.tts.engines.espeak import Espeak
from services.tts.engines.kokoro import SAMPLE_RATE, KokoroEngine, KokoroSource
from services.tts.engines.kokoro_phonemes import ESPEAK_VOICES, to_symbols

VOCABULARY = frozenset(
    ';:,.!?—…"()“” ʣʥʦʨᵝꭧAIOQSTWYᵊabcdefhijklmnopqrstuvwxyzɑɐɒæβɔɕçɖðʤəɚɛɜɟɡɥɨɪʝɯɰŋɳɲɴøɸθœɹɾɻʁɽʂʃʈ'
    "ʧʊʋʌɣɤχʎʒʔˈˌːʰʲ↓→↗↘ᵻ\u0303"
)
"""Of Kokoro-82M's config.json."""
TEXTS = {
    "en-US": "Which nurse judged the little button? Day, boat, fair, toy, now, five birds.",
    "en-GB": "The dance on a boat near there was pure joy; nobody goes home.",
    "es": "Hola, ¿cómo estás? El perro corre rápido y el niño bebe agua.",
    "fr": "Bonjour, comment allez-vous ? Un bon vin blanc, garçon.",
    "hi": "नमस्ते, आप कैसे हैं?",
    "it": "Buongiorno, gli gnocchi sono pronti, grazie.",
    "ja": "こんにちは、げんきですか。きっぷをにまいください。ちょっとまってください。",
    "pt-BR": "Bom dia, tudo bem? O coração não dói.",
}


def symbols(ipa: str, language: str = "en-US") -> str:
    return "".join(to_symbols(unicodedata.normalize("NFD", ipa), language)[0])


@pytest.mark.parametrize(
    ("ipa", "language", "expected"),
    [
        ("həlˈoʊ", "en-US", "həlˈO"),
        ("həlˈəʊ", "en-GB", "həlˈQ"),
        ("dʒˈʌdʒ", "en-US", "ʤˈʌʤ"),
        ("nˈɜːs", "en-US", "nˈɜɹs"),
        ("bˈʌʔn̩", "en-US", "bˈʌtᵊn"),
        ("lˈɪɾəl", "en-US", "lˈɪTəl"),
        ("ɡaʁsˈɔ̃ç", "fr", "ɡaʁsˈɔ\u0303ç"),
        ("tɕˈo̞tto̞", "ja", "ʨotto"),
        ("pˈero", "es", "pˈero"),
    ],
)
def test_sounds_are_written_as_kokoro_knows_them(ipa: str, language: str, expected: str) -> None:
    assert symbols(ipa, language) == expected


def test_every_symbol_tells_the_phoneme_that_it_comes_from() -> None:
    phonemes = unicodedata.normalize("NFD", "bˈʌʔn̩ ɜː")
    made, owners = to_symbols(phonemes, "en-US")
    assert "".join(made) == "bˈʌtᵊn ɜɹ"
    assert owners == sorted(owners)
    assert "".join(phonemes[owner] for owner in owners) == "bˈʌʔn\u0329 ɜː"


@pytest.mark.parametrize("language", ESPEAK_VOICES)
def test_all_that_espeak_says_is_in_the_vocabulary(language: str) -> None:
    clauses = Espeak(ESPEAK_VOICES[language]).clauses(TEXTS[language])
    phonemes = [symbol for clause in clauses for symbol in clause.phonemes]
    made, _ = to_symbols(phonemes, language)
    assert len(made) > 20
    assert set(made) - VOCABULARY <= {"-"}


def test_files_that_are_no_model_are_refused(tmp_path: Path) -> None:
    (tmp_path / "vocab.json").write_text('{"vocab": {"a": 1}}')
    (tmp_path / "model.onnx").write_bytes(b"not a model at all")
    source = KokoroSource("x", "X", tmp_path / "x.bin", "en-US", "MIT")
    with pytest.raises(EngineUnavailable, match=r"model\.onnx"):
        KokoroEngine(tmp_path / "model.onnx", [source]).load()
    (tmp_path / "vocab.json").unlink()
    with pytest.raises(EngineUnavailable, match=r"vocab\.json"):
        KokoroEngine(tmp_path / "model.onnx", [source]).load()


@pytest.fixture(scope="module")
def store(model_store: ModelStore) -> ModelStore:
    Downloader(model_store).download(["kokoro-82m-int8", "kokoro-voices"])
    return model_store


def source(store: ModelStore, name: str, language: str) -> KokoroSource:
    styles = store.require("kokoro-voices") / f"{name}.bin"
    return KokoroSource(f"{name}-{language}", name, styles, language, "Apache-2.0")


def engine_of(store: ModelStore, *sources: KokoroSource) -> KokoroEngine:
    return KokoroEngine(store.require("kokoro-82m-int8") / "kokoro-v1.0.int8.onnx", sources)


@pytest.fixture(scope="module")
def engine(store: ModelStore) -> Iterator[KokoroEngine]:
    made = engine_of(
        store,
        source(store, "af_heart", "en-US"),
        source(store, "jf_alpha", "en-US"),
        source(store, "jf_alpha", "ja"),
    )
    made.load()
    yield made
    made.close()


def speak(engine: KokoroEngine, text: str, voice: str) -> tuple[Floats, list[WordTime]]:
    pieces = list(engine.synthesize(SynthesisRequest(text, voice)))
    words = [word for piece in pieces for word in piece.words]
    return np.concatenate([piece.samples for piece in pieces]), words


@pytest.mark.models
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_words_are_where_the_sound_is(engine: KokoroEngine) -> None:
    audio, timed = speak(engine, "Well, stop. Go away.", "af_heart-en-US")
    words = {word.word: word for word in timed}

    def loudness(start_ms: int, end_ms: int) -> float:
        part = audio[start_ms * SAMPLE_RATE // 1000 : end_ms * SAMPLE_RATE // 1000]
        return float(np.sqrt(np.mean(np.square(part))))

    pause = loudness(words["stop."].end_ms + 50, words["stop."].end_ms + 250)
    assert min(loudness(word.start_ms, word.end_ms) for word in timed) > 4 * pause


@pytest.mark.models
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_voices_differ_and_read_what_they_are_told_to(engine: KokoroEngine) -> None:
    heart, _ = speak(engine, "Good morning.", "af_heart-en-US")
    alpha, _ = speak(engine, "Good morning.", "jf_alpha-en-US")
    assert len(heart) != len(alpha) or not np.allclose(heart, alpha)
    kana, words = speak(engine, "おはよう。", "jf_alpha-ja")
    assert len(kana) > SAMPLE_RATE // 2
    assert [word.word for word in words] == list("おはよう")
    assert len({voice.version for voice in engine.voices()}) == 3


@pytest.mark.models
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_phonemes_within_the_text_are_spoken(engine: KokoroEngine) -> None:
    written, _ = speak(engine, "Win.", "af_heart-en-US")
    told, _ = speak(engine, "[[wˈɪn]].", "af_heart-en-US")
    assert len(told) == pytest.approx(len(written), rel=0.25)


@pytest.mark.parametrize(
    ("content", "told"), [(b"", "no Kokoro voice"), (b"12345678", "no Kokoro voice")]
)
@pytest.mark.models
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_file_that_is_no_voice_is_refused(
    store: ModelStore, tmp_path: Path, content: bytes, told: str
) -> None:
    (tmp_path / "own.bin").write_bytes(content)
    engine = engine_of(store, KokoroSource("x", "X", tmp_path / "own.bin", "en-US", "MIT"))
    with pytest.raises(EngineUnavailable, match=told):
        engine.load()


def test_an_unknown_language_lists_those_that_are_read(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match="does not read nl; .* en-US, en-GB, es"):
        KokoroEngine(tmp_path, [KokoroSource("x", "X", tmp_path, "nl", "MIT")])


@pytest.mark.models
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_kanji_go_through_the_dictionary(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.tts.engines.kokoro.open_jtalk", lambda: lambda text: "きょう")
    engine = engine_of(store, source(store, "jf_alpha", "ja"))
    engine.load()
    audio, _ = speak(engine, "今日", "jf_alpha-ja")
    assert len(audio) < 1.5 * SAMPLE_RATE  # espeak alone says "Chinese letter", twice
