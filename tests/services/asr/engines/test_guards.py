"""The checks of what Whisper wrote, without a model."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.asr.engines.guards import (
    Evidence,
    Reason,
    compression_ratio,
    doubt,
    why_hidden,
    why_withheld,
)
from services.asr.engines.guards_phrases import Inventions, normalised

SPEECH = Evidence("Please call me back.", 1.5, 8, log_probability=-0.4, no_speech=0.05)
KNOWN = Inventions.load()


def heard(text: str, **numbers: Any) -> Evidence:
    return replace(SPEECH, text=text, **numbers)


def check(evidence: Evidence, language: str | None = "en") -> Reason | None:
    return why_withheld(evidence, KNOWN, language)


@pytest.mark.parametrize(
    "text",
    ["Yes.", "No.", "Thank you.", "Bye.", "Okay.", "Beep.", "Nguyễn Văn An", "7", "是", "نعم"],
)
def test_what_is_clearly_said_is_shown(text: str) -> None:
    assert check(heard(text)) is None
    assert check(heard(text, log_probability=-1.4)) is None


@pytest.mark.parametrize("text", ["", " ", ".", "...", ". . . .", "♪♪", "-"])
def test_text_without_a_word_is_no_speech(text: str) -> None:
    assert check(heard(text)) is Reason.NO_SPEECH


def test_nobody_says_a_word_in_no_time() -> None:
    assert check(heard("You", seconds=0.05)) is Reason.NO_SPEECH


@pytest.mark.parametrize(
    ("no_speech", "log_probability", "in_full", "withheld"),
    [
        (0.95, -0.1, False, True),
        (0.85, -0.6, False, False),  # a word in noise on a telephone line
        (0.85, -1.3, False, True),
        (0.85, -0.6, True, True),
        (0.60, -0.5, True, False),
        (0.60, -1.2, True, True),
        (0.43, -1.5, True, False),
    ],
)
def test_no_speech_is_weighed_against_the_text(
    no_speech: float, log_probability: float, in_full: bool, withheld: bool
) -> None:
    evidence = heard("Right.", no_speech=no_speech, log_probability=log_probability)
    reason = check(replace(evidence, in_full=in_full))
    assert reason is (Reason.NO_SPEECH if withheld else None)


def test_what_is_doubtful_in_short_context_is_worth_a_better_look() -> None:
    short = replace(SPEECH, in_full=False)
    assert not short.doubtful
    assert replace(short, no_speech=0.5).doubtful
    assert replace(short, log_probability=-1.1).doubtful
    assert replace(short, exhausted=True).doubtful
    assert not replace(SPEECH, no_speech=0.5, log_probability=-1.1, exhausted=True).doubtful


def test_partials_are_hidden_sooner_but_not_for_being_unsure() -> None:
    assert why_hidden(heard("Right.", no_speech=0.65), KNOWN, "en") is Reason.NO_SPEECH
    assert why_hidden(heard("Right.", log_probability=-1.9), KNOWN, "en") is None
    assert check(heard("Right.", log_probability=-1.9)) is Reason.UNSURE


@pytest.mark.parametrize(
    "evidence",
    [
        heard("you " * 60),
        heard("I see.", exhausted=True),
        heard("I am going to be a little too close to it.", seconds=0.5, tokens=20),
        heard("Aaaaaaaah!"),
    ],
    ids=["compressible", "endless", "too fast", "a scream"],
)
def test_loops_are_repetition(evidence: Evidence) -> None:
    assert check(evidence) is Reason.REPETITION


def test_people_repeat_themselves_too() -> None:
    assert check(heard("No, no, no, no, no, no.", tokens=14)) is None
    assert check(heard("zero zero zero zero seven zero zero", seconds=3.0, tokens=10)) is None


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "Thank you for watching!"),
        ("en", "Thanks for watching. Don't forget to like and subscribe."),
        ("en", "Subtitles by the Amara.org community"),
        ("vi", "Hãy subscribe cho kênh Ghiền Mì Gõ Để không bỏ lỡ những video hấp dẫn"),
        ("vi", "Cảm ơn các bạn đã theo dõi và hẹn gặp lại."),
        ("de", "Untertitelung des ZDF, 2020"),
        ("fr", "Sous-titres réalisés par la communauté d'Amara.org"),
        ("fr", "Merci d’avoir regardé cette vidéo !"),
        ("es", "¡Suscríbete al canal!"),
        ("ru", "Субтитры сделал DimaTorzok"),
        ("ja", "ご視聴ありがとうございました。"),
        ("ko", "시청해주셔서 감사합니다."),
        ("zh", "请不吝点赞 订阅 转发 打赏支持明镜与点点栏目"),
        ("sw", "Thank you for watching."),
        (None, "Продолжение следует..."),
    ],
)
def test_known_inventions_need_a_little_doubt(language: str | None, text: str) -> None:
    assert check(heard(text, seconds=4.0), language) is None
    doubtful = heard(text, seconds=4.0, no_speech=0.4)
    assert check(doubtful, language) is Reason.INVENTED_PHRASE


@pytest.mark.parametrize(
    ("language", "text"),
    [("en", "Thank you."), ("en", "you"), ("en", "Bye. Bye-bye!"), ("vi", "Cảm ơn các bạn.")],
)
def test_what_people_say_too_needs_much_doubt(language: str, text: str) -> None:
    assert check(heard(text, no_speech=0.4), language) is None
    assert check(heard(text, no_speech=0.5), language) is Reason.INVENTED_PHRASE


def test_hints_that_come_back_in_doubt_are_an_echo() -> None:
    hints = "IBAN, Nguyen A call to the bank about a transfer."
    for text in ("A call to the bank.", "Nguyen", "transfer"):
        assert check(heard(text, hints=hints, no_speech=0.3)) is None
        echo = heard(text, hints=hints, no_speech=0.5)
        assert check(echo) is Reason.INVENTED_PHRASE
    other = heard("A transfer to Nguyen.", hints=hints, no_speech=0.5)
    assert check(other) is None


def test_words_for_sounds_are_withheld_alone() -> None:
    assert check(heard("Beep, beep. Beep!", no_speech=0.4)) is Reason.INVENTED_PHRASE
    assert check(heard("Leave a message after the beep.", no_speech=0.4)) is None


def test_a_phrase_inside_a_sentence_is_a_sentence() -> None:
    for text in ("I said thank you for watching the house.", "Thank you. My name is Anna."):
        assert check(heard(text, no_speech=0.5)) is None


def test_every_line_of_every_file_is_found_by_itself() -> None:
    assert len(KNOWN.languages) >= 12
    for language in KNOWN.languages:
        phrases = KNOWN._phrases[language]
        lines = phrases.unlikely | phrases.common | phrases.sounds | phrases.beginnings
        assert lines
        assert all(lines), "an empty phrase matches everything"
        for line in lines:
            assert KNOWN.matches(line.upper() + "!", language, doubt=1.0), line


@given(st.text())
def test_any_text_can_be_checked(text: str) -> None:
    assert normalised(normalised(text)) == normalised(text)
    assert compression_ratio(text) >= 0
    assert check(heard(text)) in {None, *Reason}
    assert check(heard(text), None) in {None, *Reason}


@given(st.floats(0, 1), st.floats(-5, 0))
def test_doubt_grows_with_what_speaks_against_speech(no_speech: float, likely: float) -> None:
    evidence = heard("Yes.", no_speech=no_speech, log_probability=likely)
    assert 0 <= doubt(evidence) <= 1
    assert doubt(replace(evidence, no_speech=no_speech / 2)) <= doubt(evidence)
    assert doubt(replace(evidence, log_probability=likely / 2)) <= doubt(evidence)


def test_repetition_is_measured() -> None:
    assert compression_ratio("") == 0.0
    assert compression_ratio("There is currently one other participant.") < 1.5
    assert compression_ratio("you " * 50) > 2.4
