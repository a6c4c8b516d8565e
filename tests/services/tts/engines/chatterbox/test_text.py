"""Which tokens are which words."""

from pathlib import Path
from typing import Any

import pytest

from services.tts.engines.base import ReadWord, SynthesisRequest

pytestmark = [
    pytest.mark.chatterbox,
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning"),
]

START, STOP, SPACE = 255, 0, 2


def reader_for(library: Any, folder: Path, *, multilingual: bool = False) -> Any:
    from chatterbox.tts import punc_norm

    from services.tts.engines.chatterbox.text import TextReader

    tokenizer = library.random_tokenizer(folder, multilingual=multilingual)
    return TextReader(tokenizer, punc_norm, multilingual=multilingual, start=START, end=STOP)


def read(reader: Any, text: str, *words: ReadWord, language: str = "en-US") -> Any:
    return reader.read(SynthesisRequest(text, "v", words=words), language)


def test_text_stands_between_start_and_end(chatterbox_library: Any, tmp_path: Path) -> None:
    reader = reader_for(chatterbox_library, tmp_path)
    got = read(reader, "ab cd ef")
    tokenizer = chatterbox_library.random_tokenizer(tmp_path)
    assert got.tokens == (START, *tokenizer.encode("Ab cd ef."), STOP)
    assert [(word.text, word.first) for word in got.words] == [("ab", 1), ("cd", 4), ("ef", 7)]


def test_words_are_the_written_ones(chatterbox_library: Any, tmp_path: Path) -> None:
    reader = reader_for(chatterbox_library, tmp_path)
    got = read(
        reader,
        "It is three dollars now.",
        ReadWord("It", "It"),
        ReadWord("is", "is"),
        ReadWord("$3", "three dollars"),
        ReadWord("—", "—"),
        ReadWord("now.", "now."),
    )
    assert [(word.text, word.first) for word in got.words] == [
        ("It", 1),
        ("is", 4),
        ("$3", 7),
        ("now.", 21),
    ]


def test_marks_that_become_others_move_words_only_a_little(
    chatterbox_library: Any, tmp_path: Path
) -> None:
    reader = reader_for(chatterbox_library, tmp_path)
    text = "Well... this is - as they say: odd"
    got = read(reader, text)
    clean = "Well,  this is, as they say, odd."
    for word in got.words:
        assert word.first == pytest.approx(1 + clean.index(word.text.strip(".:")), abs=3)


@pytest.mark.parametrize("text", ["I", "A!", "no", "Yes."])
def test_short_text_is_padded(chatterbox_library: Any, tmp_path: Path, text: str) -> None:
    got = read(reader_for(chatterbox_library, tmp_path), text)
    assert len(got.tokens) >= 6
    assert len(got.words) == 1


def test_the_language_comes_first(chatterbox_library: Any, tmp_path: Path) -> None:
    reader = reader_for(chatterbox_library, tmp_path, multilingual=True)
    got = read(reader, "ab cd ef", language="de-AT")
    assert got.tokens[:2] == (START, 257)
    assert [word.first for word in got.words] == [2, 5, 8]
