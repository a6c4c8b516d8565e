"""What listeners are told, in the fragments of a language model."""

from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.bench.corpus import CorpusError
from services.bench.tts_text import (
    SENTENCES,
    first_clause_end,
    load_sentences,
    replies,
    tokens_of,
)


@given(st.text(max_size=200))
def test_tokens_joined_are_the_text(text: str) -> None:
    tokens = tokens_of(text)
    assert "".join(tokens) == text
    assert all(tokens)


def test_words_come_with_their_space_and_long_ones_in_pieces() -> None:
    assert tokens_of("Yes, wonderful news.") == ["Yes", ",", " wonde", "rful", " news", "."]


@pytest.mark.parametrize(
    ("text", "clause"),
    [
        ("Well, if you like, we can go.", "Well, if you like, "),
        ("It is over. We go.", "It is over. "),
        ("It costs 3.50 today", "It costs 3.50 today"),
        ("I met old Dr. Smith there, today", "I met old Dr. Smith there, "),
        ("Go on!", "Go on!"),
    ],
)
def test_the_first_clause_is_complete_with_what_shows_its_end(text: str, clause: str) -> None:
    assert text[: first_clause_end(text)] == clause


def test_all_sentences_come_before_one_comes_again() -> None:
    sentences = [f"Sentence {number}." for number in range(7)]
    said = " ".join(islice(replies(sentences, 3), 20))
    found = [f"Sentence {part[0]}." for part in said.split("Sentence ")[1:]]
    assert sorted(found[:7]) == sentences
    assert sorted(found[7:14]) == sentences


def test_a_seed_decides_the_replies() -> None:
    sentences = [f"Sentence {number}." for number in range(9)]
    first, again, other = (list(islice(replies(sentences, seed), 9)) for seed in (1, 1, 2))
    assert first == again != other


def test_the_bundled_sentences_are_sixty() -> None:
    assert len(load_sentences(SENTENCES)) == 60


def test_comments_are_no_sentences_and_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "some.txt"
    path.write_text("# A comment.\n\n")
    with pytest.raises(CorpusError, match="no sentences"):
        load_sentences(path)
    path.write_text("# A comment.\n One. \n")
    assert load_sentences(path) == ["One."]
    with pytest.raises(CorpusError, match="cannot be read"):
        load_sentences(tmp_path / "none.txt")
