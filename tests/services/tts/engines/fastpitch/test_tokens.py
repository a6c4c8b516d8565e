"""Text to tokens: what is known, whose they are, how words are joined."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.training.texts import plain
from services.tts.engines.fastpitch.tokens import Tokeniser
from tests.services.tts.engines.fastpitch.graphs import LETTERS
from tests.services.tts.engines.fastpitch.test_pronunciation import pronouncer

SYMBOLS = {number: symbol for symbol, number in LETTERS.ids.items()} | {LETTERS.space: " "}


def decoded(ids: tuple[int, ...]) -> str:
    return "".join(SYMBOLS[id] for id in ids)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Hello there", " hello there "),
        ("  Hello,\n\tthere!  ", " hello, there! "),
        ("Café “déjà vu”", ' cafe "deja vu" '),
        ("don’t", " don't "),
        ("a — b", " a b "),
        ("x|y", " xy "),
        ("日本", "  "),
        ("", "  "),
    ],
)
def test_text_as_the_model_reads_it(text: str, tokens: str) -> None:
    assert decoded(Tokeniser(LETTERS).encode(text)) == tokens


def test_only_marks_that_the_model_lacks_are_made_plain() -> None:
    ids = {"a": 1, "«": 2, '"': 3, ".": 4}
    tokeniser = Tokeniser(LETTERS.model_copy(update={"ids": ids}))
    assert tokeniser.in_known_marks("«a» … – a") == '«a" ... – a'


def test_marks_are_made_plain_as_in_training() -> None:
    marks = "“”„«»‘’ʼ`´–—−‐‑…"
    assert Tokeniser(LETTERS).in_known_marks(marks) == plain(marks)


def test_composed_and_decomposed_letters_are_one() -> None:
    table = LETTERS.model_copy(update={"ids": {"ạ": 1, "ờ": 2}, "accents": "keep"})
    assert Tokeniser(table).encode("Ạờ") == Tokeniser(table).encode("A\u0323o\u031b\u0300")


def test_stress_digits_go_where_the_model_has_none() -> None:
    table = LETTERS.model_copy(update={"ids": {"HH": 1, "AH": 2, "L": 3, "OW": 4}})
    unstressed = table.model_copy(update={"stresses": False})
    assert Tokeniser(table, pronouncer("arpabet")).encode("hello") == (0, 1, 3, 0)
    assert Tokeniser(unstressed, pronouncer("arpabet")).encode("hello") == (0, 1, 2, 3, 4, 0)


@given(st.lists(st.text(max_size=8), max_size=6))
def test_sounds_have_owners_and_spaces_and_marks_have_none(words: list[str]) -> None:
    tokeniser = Tokeniser(LETTERS)
    parts = [
        (number, [tokeniser.spell(w) for w in text.split()]) for number, text in enumerate(words)
    ]
    tokens = tokeniser.join(parts)
    assert len(tokens.ids) == len(tokens.owners)
    owned = [owner for owner in tokens.owners if owner >= 0]
    assert owned == sorted(owned)
    for id, owner in zip(tokens.ids, tokens.owners, strict=True):
        assert (owner == -1) == (SYMBOLS[id] in (" ", "'", *LETTERS.marks))
    assert tokens.ids == tokeniser.encode(" ".join(words))


@given(st.text())
def test_no_two_spaces_within(text: str) -> None:
    inner = decoded(Tokeniser(LETTERS).encode(text))[1:-1]
    assert "  " not in inner
    assert inner == inner.strip()
