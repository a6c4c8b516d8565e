"""Phrases that are kept: their names, their pieces, their bytes."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.tts.engines.base import Conditioning, ReadWord, SynthesisRequest, Voice, WordTime
from services.tts.engines.fake import SAMPLE_RATE, FakeEngine
from services.tts.phrase import Phrase, phrase_key

ENGINE = FakeEngine()
VOICE = ENGINE.voices()[0]
REQUEST = SynthesisRequest("Good morning, and welcome.", VOICE.id)


def spoken(text: str = REQUEST.text) -> Phrase:
    pieces = list(ENGINE.synthesize(replace(REQUEST, text=text)))
    return Phrase.recorded(pieces, SAMPLE_RATE)


def test_equal_requests_have_equal_keys() -> None:
    assert phrase_key(REQUEST, VOICE) == phrase_key(replace(REQUEST), VOICE)
    named = replace(REQUEST, language="en")
    assert phrase_key(named, VOICE) == phrase_key(REQUEST, VOICE), "the voice speaks no other"


def test_whatever_changes_the_sound_changes_the_key() -> None:
    keys = {
        phrase_key(REQUEST, VOICE),
        phrase_key(replace(REQUEST, words=(ReadWord("1", "one"),)), VOICE),
        phrase_key(REQUEST, replace(VOICE, version="2")),
        phrase_key(REQUEST, replace(VOICE, engine="other")),
        phrase_key(REQUEST, replace(VOICE, sample_rate=8000)),
        phrase_key(replace(REQUEST, text="Good morning, and welcome"), VOICE),
        phrase_key(replace(REQUEST, speed=1.1), VOICE),
        phrase_key(replace(REQUEST, seed=1), VOICE),
        phrase_key(replace(REQUEST, voice="other"), VOICE),
        phrase_key(replace(REQUEST, text="\ud800"), VOICE),
    }
    assert len(keys) == 10


def test_pieces_are_what_the_engine_gave_in_16_bits() -> None:
    fresh = list(ENGINE.synthesize(REQUEST))
    kept = list(spoken().pieces())
    whole = np.concatenate([piece.samples for piece in fresh])
    np.testing.assert_allclose(
        np.concatenate([piece.samples for piece in kept]), whole, atol=1 / 32_768
    )
    assert kept[0].samples.dtype == np.float32
    assert len(kept[0].samples) == SAMPLE_RATE // 5, "little first"
    words = [word for piece in kept for word in piece.words]
    assert words == [word for piece in fresh for word in piece.words]
    sent = 0
    for piece in kept:
        until_ms = (sent + len(piece.samples)) * 1000 // SAMPLE_RATE
        assert all(sent * 1000 // SAMPLE_RATE <= word.start_ms <= until_ms for word in piece.words)
        sent += len(piece.samples)


@given(
    st.binary(max_size=200),
    st.lists(st.builds(WordTime, st.text(max_size=9), st.integers(0, 99), st.integers(0, 99))),
)
def test_bytes_hold_everything(data: bytes, words: list[WordTime]) -> None:
    samples = np.frombuffer(data[: len(data) // 2 * 2], dtype="<i2").astype(np.int16)
    again = Phrase.from_bytes(Phrase(samples, 22_050, tuple(words)).to_bytes())
    np.testing.assert_array_equal(again.samples, samples)
    assert (again.sample_rate, again.words) == (22_050, tuple(words))


@given(st.data())
def test_damaged_bytes_are_never_taken_for_a_phrase(data: st.DataObject) -> None:
    whole = bytearray(spoken("Hi.").to_bytes())
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del whole[data.draw(st.integers(0, len(whole) - 1)) :]
    with pytest.raises(ValueError, match="phrase"):
        Phrase.from_bytes(bytes(whole))


def test_nothing_is_a_phrase_too() -> None:
    empty = Phrase.recorded([], SAMPLE_RATE)
    assert list(empty.pieces()) == []
    assert Phrase.from_bytes(empty.to_bytes()).size == 0


def test_a_cloned_voice_gives_its_phrases_its_name_and_version() -> None:
    voice = Voice("cv_1", "Ada", "en-US", 16_000, "fake", "MIT", version="1", cloned=True)
    request = SynthesisRequest("Hi.", "cv_1")
    tensors = {"large": np.zeros(1_000_000, dtype=np.float32)}
    spoken_so = replace(request, conditioning=Conditioning("cv_1-a", "1", tensors))
    key = phrase_key(request, voice)
    assert key.startswith("cv_1-")
    assert phrase_key(spoken_so, voice) == key
    assert phrase_key(request, replace(voice, version="2")) != key
