"""Words by a model's dictionary: endings, hyphens, what is spelt."""

import pytest

from services.tts.engines.fastpitch.pronunciation import Pronouncer
from tests.services.tts.engines.fastpitch.models import DICTIONARY


def pronouncer(alphabet: str) -> Pronouncer:
    column = 0 if alphabet == "arpabet" else 1
    entries: dict[str, tuple[str, ...] | None] = {}
    for word, spoken in DICTIONARY.items():
        name = word.removesuffix("(1)")
        entries[name] = None if name in entries else tuple(spoken[column].split())
    if alphabet == "arpabet":
        return Pronouncer("arpabet", "en-US", entries, frozenset({"lead"}))
    upper = {word.upper(): said for word, said in entries.items()}
    return Pronouncer("ipa", "en-US", upper, frozenset({"LEAD"}), case="upper", prefix="#")


@pytest.mark.parametrize(
    ("text", "arpabet", "ipa"),
    [
        ("hello", "HH AH0 L OW1", "h ə l ˈ o ʊ"),
        ("Hello,", "HH AH0 L OW1 ,", "h ə l ˈ o ʊ ,"),
        ("apples", "AE1 P AH0 L Z", "ˈ æ p ə l z"),
        ("airport's", "EH1 R P AO2 R T Z", "ˈ ɛ ɹ p ˌ ɔ ɹ t s"),
        ("airports", "EH1 R P AO2 R T Z", "ˈ ɛ ɹ p ˌ ɔ ɹ t s"),
        ("bus's", "B AH1 S Z", "b ˈ ə s ɪ z"),
        ("don't", "D OW1 N T", "d ˈ o ʊ n t"),
        ("well-known", "W EH1 L - N OW1 N", "w ˈ ɛ l - n ˈ o ʊ n"),
        ("well-oi", "W EH1 L - o i", "w ˈ ɛ l - #O #I"),
        ("read", "r e a d", "#R #E #A #D"),
        ("lead", "l e a d", "#L #E #A #D"),
        ("reads", "r e a d s", "#R #E #A #D #S"),
        ("oi", "o i", "#O #I"),
        ("(oi)", "( o i )", "( #O #I )"),
        ("'", "'", "'"),
    ],
)
def test_words(text: str, arpabet: str, ipa: str) -> None:
    assert " ".join(pronouncer("arpabet").symbols(text)) == arpabet
    assert " ".join(pronouncer("ipa").symbols(text)) == ipa


def test_letters_of_other_languages_stay_in_the_word() -> None:
    german = Pronouncer("ipa", "de-DE", {"Müller": ("m", "ʏ", "l", "ɐ")}, frozenset(), case="mixed")
    assert list(german.symbols("Müller!")) == ["m", "ʏ", "l", "ɐ", "!"]
    assert list(german.symbols("Müllers")) == list("Müllers")
