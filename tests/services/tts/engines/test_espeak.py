"""Phonemes within a text are said as they are."""

import pytest

from services.tts.engines.base import ReadWord
from services.tts.engines.espeak import Espeak
from services.tts.engines.script import read_script


@pytest.fixture(scope="module")
def espeak() -> Espeak:
    return Espeak("en-us")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Mister [[ŋwiən]] there, friend.", ["mˈɪstɚ ŋwiən ðˈɛɹ, ", "fɹˈɛnd."]),
        ("[[wɪn]]", ["wɪn"]),
        ("[[wɪn]].", ["wɪn."]),
        ("Say [[wɪn]], then [[wɪn]]! Go.", ["sˈeɪ wɪn, ", "ðˈɛn wɪn!", "ɡˈoʊ."]),
        ("one [[wɪn]]'s two", ["wˌʌn wɪnz tˈuː"]),
        ("End. [[wɪn]] two", ["ˈɛnd.", "wɪn tˈuː"]),
        ("[[wɪn]] [[wɪn]]", ["wɪn wɪn"]),
    ],
)
def test_phonemes_in_the_text(espeak: Espeak, text: str, expected: list[str]) -> None:
    clauses = ["".join(clause.phonemes) for clause in espeak.clauses(text)]
    assert [clause.lstrip("ˈ") for clause in clauses] == [each.lstrip("ˈ") for each in expected]


def test_the_sentence_ends_after_the_phonemes(espeak: Espeak) -> None:
    assert [each.ends_sentence for each in espeak.clauses("A [[wɪn]]. B")] == [True, True]
    assert [each.ends_sentence for each in espeak.clauses("A [[wɪn]], b")] == [False, True]


def test_a_word_of_phonemes_has_its_place(espeak: Espeak) -> None:
    words = (
        ReadWord("Ask", "Ask"),
        ReadWord("Nguyen,", "[[wɪn]],"),
        ReadWord("$3", "three dollars"),
    )
    script = read_script("Ask [[wɪn]], three dollars", espeak, words)
    said = {word.text: "".join(script.phonemes[word.start : word.end]) for word in script.words}
    assert said["Nguyen,"].strip(" ,") == "wɪn"
    assert said["$3"].strip().endswith("dˈɑːlɚz")
    assert list(said) == ["Ask", "Nguyen,", "$3"]
