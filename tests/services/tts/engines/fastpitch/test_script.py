"""Texts divided into runs, and the times of their words."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.tts.engines.base import ReadWord, WordTime
from services.tts.engines.checks import is_speakable
from services.tts.engines.fastpitch.script import MAX_TOKENS, ScriptReader
from services.tts.engines.fastpitch.tokens import Tokeniser
from tests.services.tts.engines.fastpitch.graphs import LETTERS
from tests.services.tts.engines.fastpitch.test_tokens import decoded

READER = ScriptReader(Tokeniser(LETTERS), "en-US")


@pytest.mark.parametrize(
    ("text", "runs"),
    [
        ("Hello there.", ["hello there."]),
        ("One two. Three!", ["one two.", "three!"]),
        ('He said: "no!" And left.', ['he said: "no!"', "and left."]),
        ("Dr. Smith is in.", ["dr. smith is in."]),
        (
            "It is ten a.m. now, at Smith Inc. The end.",
            ["it is ten a.m. now, at smith inc.", "the end."],
        ),
        ("... Hello?", ["... hello?"]),
        ("I have 42.", ["i have forty-two."]),
        ("«Wait…» “Don’t”", ['"wait..."', '"don\'t"']),
        ("an on–off switch", ["an on-off switch"]),
        ("—", []),
        ("", []),
    ],
)
def test_sentences(text: str, runs: list[str]) -> None:
    assert [decoded(run.tokens.ids).strip() for run in READER.runs(text)] == runs


def test_a_long_sentence_is_divided_between_words() -> None:
    runs = list(READER.runs("word " * 300))
    assert max(len(run.tokens.ids) for run in runs) <= MAX_TOKENS + 2
    assert sum(len(run.words) for run in runs) == 300


@pytest.mark.parametrize("text", ["a" * 1000, "7" * 1000, "ab " + "7" * 1000 + " cd. Ef"])
def test_an_endless_word_is_divided(text: str) -> None:
    runs = list(READER.runs(text))
    assert max(len(run.tokens.ids) for run in runs) <= MAX_TOKENS + 2
    assert sum(len(run.tokens.ids) for run in runs) >= 1000
    assert [word for run in runs for word in run.words] == text.split()


def test_words_are_told_as_they_were_written() -> None:
    words = (ReadWord("$3 million,", "three million dollars,"), ReadWord("now.", "now."))
    [run] = READER.runs("three million dollars, now.", words)
    assert run.words == ("$3 million,", "now.")
    assert decoded(run.tokens.ids) == " three million dollars, now. "


def test_times_are_those_of_the_tokens_that_sound() -> None:
    [run] = READER.runs("ab, * c")
    assert decoded(run.tokens.ids) == " ab, c "
    samples = np.array([100, 10, 20, 40, 80, 5, 100])
    times = list(run.word_times(samples, 1000, sample_rate=1000))
    assert times == [WordTime("ab,", 1100, 1130), WordTime("c", 1250, 1255)]


def test_a_word_without_a_known_sound_takes_no_time() -> None:
    [run] = READER.runs("ab 日 c")
    samples = np.full(len(run.tokens.ids), 10)
    assert list(run.word_times(samples, 0, 1000))[1] == WordTime("日", 30, 30)


@given(st.text(alphabet=st.sampled_from("ab .,!?'\"-—42日\n"), max_size=200))
def test_every_word_is_told_once_in_order(text: str) -> None:
    runs = list(READER.runs(text))
    told = [word for run in runs for word in run.words]
    wanted = [word for word in text.replace("日", " 日 ").split() if is_speakable(word)]
    assert told == (wanted if re.search("[ab42]", text) else [])
    for run in runs:
        assert {owner for owner in run.tokens.owners if owner >= 0} <= set(range(len(run.words)))
