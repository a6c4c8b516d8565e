"""Written words are found in phonemes that run together, expand and weaken."""

from hypothesis import given
from hypothesis import strategies as st

from services.tts.engines.espeak import Espeak
from services.tts.engines.word_alignment import align_words


def spoken(phonemes: str, words: list[str]) -> list[str | None]:
    return [
        None if span is None else phonemes[slice(*span)]
        for span in align_words(list(phonemes), [list(word) for word in words])
    ]


def test_words_that_run_together_are_told_apart() -> None:
    assert spoken("ʌvðə pˈiːpəl", ["ʌv", "ðə", "pˈiːpəl"]) == ["ʌv", "ðə", "pˈiːpəl"]


def test_a_word_that_is_said_in_two_takes_both() -> None:
    assert spoken("aɪ hæv fˈɔːɹɾi tˈuː.", ["aɪ", "hæv", "fˈɔːɹɾi tˈuː"])[2] == "fˈɔːɹɾi tˈuː"


def test_a_weakened_word_is_still_found() -> None:
    assert spoken("ɪn ɐ bˈɑːks", ["ˈɪn", "ˈeɪ", "bˈɑːks"]) == ["ɪn", "ɐ", "bˈɑːks"]


def test_a_word_without_sound_has_no_place() -> None:
    assert spoken("wʌn, tuː", ["wʌn", "", "tuː"]) == ["wʌn", None, "tuː"]


def test_a_swallowed_word_has_an_empty_place_between_its_neighbours() -> None:
    assert align_words(list("ab"), [["a"], ["x", "y", "z", "w", "v"], ["b"]])[1] in ((1, 1), (0, 0))


def test_nothing_aligns_with_nothing() -> None:
    assert align_words([], []) == []
    assert align_words([], [["a"]]) == [(0, 0)]
    assert align_words(["a"], []) == []


symbols = st.text(alphabet="aeɪʊbdkst ˈː,.", max_size=12)


@given(symbols, st.lists(symbols, max_size=6))
def test_places_are_in_order_and_do_not_overlap(phonemes: str, words: list[str]) -> None:
    spans = align_words(list(phonemes), [list(word) for word in words])
    assert len(spans) == len(words)
    at = 0
    for span in spans:
        if span is not None:
            assert at <= span[0] <= span[1] <= len(phonemes)
            at = span[1]


def test_real_phonemes_of_repeated_and_expanded_words() -> None:
    espeak = Espeak("en-us")
    text = "the end of the end of the 21st of May at 5 p.m. in the end"
    phonemes = [symbol for clause in espeak.clauses(text) for symbol in clause.phonemes]
    words = text.split()
    spans = align_words(phonemes, [espeak.word(word) for word in words])
    heard = {
        word: "".join(phonemes[slice(*span)])
        for word, span in zip(words, spans, strict=True)
        if span
    }
    assert heard["21st"] == "twˈɛnti fˈɜːst"
    assert heard["May"] == "mˈeɪ"
    assert heard["end"] == "ˈɛnd"
    assert all(span and span[0] < span[1] for span in spans)
