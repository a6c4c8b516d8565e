"""What the caller's words over the agent's are taken for."""

import unicodedata

import pytest

from examples.voice_agent.hearing import Hearing, Verdict, same_words
from examples.voice_agent.sentences import language_pack


def _hearing(language: str = "en") -> Hearing:
    pack = language_pack(language)
    return Hearing(pack.backchannels, pack.stop_words)


@pytest.mark.parametrize(
    ("language", "text", "verdict"),
    [
        ("en", "", Verdict.NOTHING),
        ("en", "...", Verdict.NOTHING),
        ("en", "Mm-hm.", Verdict.BACKCHANNEL),
        ("en", "Okay, okay, I see.", Verdict.BACKCHANNEL),
        ("en", "I see a problem", Verdict.SPEECH),
        ("en", "Okay but what about Tuesday?", Verdict.SPEECH),
        ("en", "Wait!", Verdict.STOP),
        ("vi", "Ừ.", Verdict.BACKCHANNEL),
        ("vi", "Dạ vâng ạ", Verdict.BACKCHANNEL),
        ("vi", "Khoan đã", Verdict.STOP),
        ("vi", "Tôi muốn hỏi", Verdict.SPEECH),
        ("vi", unicodedata.normalize("NFD", "Được rồi"), Verdict.BACKCHANNEL),
    ],
)
def test_words_are_told_apart(language: str, text: str, verdict: Verdict) -> None:
    assert _hearing(language).judge(text, None).verdict is verdict


def _after_speech() -> Hearing:
    hearing = _hearing()
    for i, word in enumerate(["we", "are", "open", "from", "nine", "to", "five", "on", "Monday"]):
        hearing.agent_said(10.0 + 0.3 * i, word)
    return hearing


@pytest.mark.parametrize("heard", ["from nine to five", "From nine, two five.", "opened from nine"])
def test_what_was_just_said_is_an_echo_though_misheard(heard: str) -> None:
    assert _after_speech().judge(heard, 11.5).verdict is Verdict.ECHO


def test_other_words_and_old_words_are_none() -> None:
    hearing = _after_speech()
    assert hearing.judge("I would like to cancel", 11.5).verdict is Verdict.SPEECH
    assert hearing.judge("from nine to five", 20.0).verdict is Verdict.SPEECH
    assert hearing.judge("from nine to five", None).verdict is Verdict.SPEECH


def test_case_and_punctuation_make_no_difference() -> None:
    assert same_words("What time is it?", "what time, is it")
    assert not same_words("What time is it?", "What time was it?")
