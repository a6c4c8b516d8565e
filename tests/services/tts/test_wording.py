"""Every word that is said knows which written word it stands for; nothing is lost."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.tts.engines.base import ReadWord
from services.tts.lexicon import Lexicon
from services.tts.segmentation import Segment
from services.tts.wording import Reader

ENGLISH = Reader("en-US")


def pairs(text: str, reader: Reader = ENGLISH) -> list[tuple[str, str]]:
    return [(word.written, word.spoken) for word in reader.read(text).words]


def test_a_price_is_one_word() -> None:
    assert pairs('He paid **$3.50**, "really".') == [
        ("He", "He"),
        ("paid", "paid"),
        ("$3.50,", "three dollars and fifty cents,"),
        ('"really".', '"really".'),
    ]


def test_words_that_are_said_as_one_are_one() -> None:
    assert pairs("now $3 million, (415) 555-2671!") == [
        ("now", "now"),
        ("$3 million,", "three million dollars,"),
        ("(415) 555-2671!", "four one five, five five five, two six seven one!"),
    ]


def test_plain_text_needs_no_words() -> None:
    wording = ENGLISH.read("It is *so* nice.")
    assert wording.text == "It is so nice."
    assert wording.words == ()


def test_what_was_heard_is_told_in_the_source() -> None:
    source = "**He** paid\n $3  million, or so 😀 he said."
    wording = ENGLISH.read(source)
    assert source[: wording.source_end(["He", "paid"])] == "**He** paid"
    assert source[: wording.source_end(["He", "paid", "$3 million,"])].endswith("$3  million,")
    assert source[: wording.source_end(word.written for word in wording.words)] == source
    assert wording.source_end([]) == 0


def test_decomposed_text_keeps_its_places() -> None:
    source = "cafe\u0301 5 is"
    wording = ENGLISH.read(source)
    assert [word.written for word in wording.words] == ["café", "5", "is"]
    assert source[: wording.source_end(["café"])] == "cafe\u0301"


def test_normalisation_can_be_left_out() -> None:
    assert Reader("en-US", normalise=False).read("I have $5.").text == "I have $5."


@pytest.mark.parametrize(
    ("language", "expected"),
    [("en-US", "five"), ("en", "five"), ("vi-VN", "năm"), ("de-DE", "5")],
)
def test_the_language_decides(language: str, expected: str) -> None:
    assert Reader(language).read("5").text == expected


def test_the_lexicon_goes_before_the_rules() -> None:
    lexicon = Lexicon({"FBI": "eff bee eye", "Wi-Fi 6": "why fie six"})
    reader = Reader("en", lexicons=[lexicon])
    assert reader.read("The FBI has Wi-Fi 6 and 7.").text == (
        "The eff bee eye has why fie six and seven."
    )
    assert ReadWord("Wi-Fi 6", "why fie six") in reader.read("The FBI has Wi-Fi 6 and 7.").words


def test_phonemes_are_for_engines_that_take_them() -> None:
    lexicon = Lexicon({"Nguyen": "/wɪn/"})
    text = "Ask Nguyen, [[now]]."
    taking = Reader("en", lexicons=[lexicon], phonemes=True).read(text)
    assert taking.text == "Ask [[wɪn]], [now]."
    assert Reader("en", lexicons=[lexicon]).read(text).text == "Ask Nguyen, [now]."


def test_a_segment_that_becomes_too_long_is_said_in_parts() -> None:
    segment = Segment(" 1234567890123456" * 10, 7)
    parts = list(ENGLISH.read_segment(segment, 300))
    assert "".join(part.text for part, _ in parts) == segment.text
    assert [part.start for part, _ in parts][0] == 7
    assert all(len(wording.text) <= 300 for _, wording in parts)


TOKENS = st.sampled_from(
    re.findall(
        r"\S+",
        """I said, it's 5 $3.50 $3 million 45% (415) 555-2671 A1B2 FBI joe@x.com 你好 3月 **b** - /
        & | [a](b) `c` 😀 Dr. e.g. 10:30 p.m. 1/2 - 3 x 4 " ( ) [[ ]] á \u0301 \u200d *""",
    )
)
TEXTS = st.lists(st.tuples(TOKENS, st.sampled_from([" ", " ", "\n", ""])), max_size=30).map(
    lambda pairs: "".join(token + gap for token, gap in pairs)
)
LANGUAGES = st.sampled_from(["en-US", "vi-VN", "de"])


@given(st.one_of(TEXTS, st.text(max_size=150)), LANGUAGES)
def test_nothing_is_lost_and_the_words_are_the_text(text: str, language: str) -> None:
    wording = Reader(language, lexicons=[Lexicon({"said": "told them", "A1B2": "x"})]).read(text)
    assert len(wording.written.ends) == len(wording.written.text)
    assert sorted(wording.written.ends) == wording.written.ends
    if wording.words:
        spaceless = re.sub(r"\s", "", wording.written.text)
        assert "".join(word.written for word in wording.words).replace(" ", "") == spaceless
        said = re.sub(r"\s", "", wording.text)
        assert "".join(word.spoken for word in wording.words).replace(" ", "") == said


@given(st.one_of(TEXTS, st.text(max_size=150)))
def test_what_can_be_heard_stays_to_be_heard(text: str) -> None:
    plain = Reader("en-US", normalise=False).read(text)
    assert not plain.speakable or ENGLISH.read(text).speakable


def test_a_word_that_only_tells_what_follows_keeps_its_own_time() -> None:
    words = Reader("en-US").read("Enter PIN 4071, please.").words
    assert [(word.written, word.spoken) for word in words] == [
        ("Enter", "Enter"),
        ("PIN", "PIN"),
        ("4071,", "four zero seven one,"),
        ("please.", "please."),
    ]
