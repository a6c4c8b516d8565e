"""Choosing a voice, and what is said when there is none."""

from dataclasses import replace

import pytest

from services.shared.protocol.base import ErrorCode, ProtocolError
from services.tts.engines.base import Voice
from services.tts.engines.checks import is_speakable
from services.tts.voices import VoiceCatalogue, sample_text


def voice(voice_id: str, language: str) -> Voice:
    return Voice(voice_id, voice_id, language, 22_050, "fake", "MIT")


JOE, AMY, MAI = voice("joe", "en-US"), voice("amy", "en-GB"), voice("mai", "vi-VN")


@pytest.fixture
def catalogue() -> VoiceCatalogue:
    return VoiceCatalogue(
        [JOE, AMY, MAI], language_defaults={"en": "amy"}, aliases={"alloy": "joe"}
    )


@pytest.mark.parametrize(
    ("voice_id", "language", "expected"),
    [
        (None, None, JOE),
        ("mai", None, MAI),
        ("alloy", None, JOE),
        ("joe", "en", JOE),
        ("joe", "EN_us", JOE),
        (None, "vi", MAI),
        (None, "en", AMY),
        (None, "en-US", JOE),
    ],
)
def test_choose(
    catalogue: VoiceCatalogue, voice_id: str | None, language: str | None, expected: Voice
) -> None:
    assert catalogue.choose(voice_id, language) is expected


@pytest.mark.parametrize(
    ("voice_id", "language", "code", "told"),
    [
        ("bob", None, ErrorCode.UNKNOWN_VOICE, "'bob' is unknown; there are joe, amy, mai"),
        ("../joe", None, ErrorCode.UNKNOWN_VOICE, "joe, amy, mai"),
        ("joe", "vi", ErrorCode.UNSUPPORTED_LANGUAGE, "joe speaks en-US, not vi"),
        ("joe", "en-GB", ErrorCode.UNSUPPORTED_LANGUAGE, "joe speaks en-US, not en-GB"),
        (None, "fr", ErrorCode.UNSUPPORTED_LANGUAGE, "there are voices for en-US, en-GB, vi-VN"),
    ],
)
def test_what_cannot_be_had(
    catalogue: VoiceCatalogue,
    voice_id: str | None,
    language: str | None,
    code: ErrorCode,
    told: str,
) -> None:
    with pytest.raises(ProtocolError, match=told) as caught:
        catalogue.choose(voice_id, language)
    assert caught.value.code is code


def test_a_default_can_be_named() -> None:
    assert VoiceCatalogue([JOE, MAI], default="mai").choose() is MAI


def test_a_catalogue_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        VoiceCatalogue([])
    with pytest.raises(ValueError, match="each id once"):
        VoiceCatalogue([JOE, JOE])
    with pytest.raises(ValueError, match="'bob' is configured but not there; there are joe"):
        VoiceCatalogue([JOE], default="bob")
    with pytest.raises(ValueError, match="'bob'"):
        VoiceCatalogue([JOE], aliases={"x": "bob"})


@pytest.mark.parametrize("language", ["en", "en-GB", "vi_VN", "pt-BR", "xx"])
def test_there_is_something_to_say_in_every_language(language: str) -> None:
    assert is_speakable(sample_text(language))


def test_a_sample_is_in_the_language_of_the_voice() -> None:
    assert sample_text("vi-VN").startswith("Xin chào")
    assert sample_text("en-GB") == sample_text("en-US") != sample_text("xx")


def test_voices_of_ones_own_come_and_go_and_must_be_named() -> None:
    own: dict[str, Voice] = {}
    everybody = VoiceCatalogue([JOE, MAI])
    mine = everybody.with_own(lambda: own)
    ada = replace(JOE, id="cv_ada", language="fr-FR", cloned=True)
    own[ada.id] = ada
    assert mine.choose("cv_ada") is ada
    assert mine.ids == ("joe", "mai", "cv_ada")
    assert mine.choose() is JOE
    with pytest.raises(ProtocolError, match="no voice speaks fr"):
        mine.choose(language="fr")
    with pytest.raises(ProtocolError, match="unknown"):
        everybody.choose("cv_ada")
    own.clear()
    with pytest.raises(ProtocolError, match="unknown"):
        mine.choose("cv_ada")


def test_an_error_does_not_list_hundreds_of_voices() -> None:
    many = [replace(JOE, id=f"voice-{number}") for number in range(500)]
    with pytest.raises(ProtocolError, match="and 440 more") as error:
        VoiceCatalogue(many).choose("bob")
    assert len(error.value.message) < 1500
