"""What documentation and benchmark promise is what is read."""

import re
from pathlib import Path

import pytest

from services.bench.tts_text import SENTENCES, load_sentences
from services.tts import messages
from services.tts.wording import Reader

README = Path(messages.__file__).with_name("README.md").read_text(encoding="utf-8")
SPOKEN = SENTENCES.with_name("sentences.en.spoken.txt")
"""Checked by hand: the benchmark's sentences as a person reads them."""


def rows() -> list[tuple[str, str]]:
    section = README.split("## How text is read\n", 1)[1].split("\n## ", 1)[0]
    table = re.findall(r"^\| (.+) \| (.+) \|$", section, re.MULTILINE)
    return [(written, read) for written, read in table if written != "written"]


def test_there_are_examples() -> None:
    assert len(rows()) > 5


@pytest.mark.parametrize(("written", "expected"), rows())
def test_the_examples_of_the_readme(written: str, expected: str) -> None:
    language = "vi" if re.search("[ạảấầđệứờúà]", written) else "en-US"
    assert Reader(language).read(written).text == expected


def test_the_benchmarks_sentences() -> None:
    reader = Reader("en-US")
    said = [reader.read(sentence).text for sentence in load_sentences(SENTENCES)]
    assert said == load_sentences(SPOKEN)
