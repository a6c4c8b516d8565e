"""What listeners are told, and the fragments in which a language model would write it. Pure."""

import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from services.bench.corpus import CorpusError

SENTENCES = Path(__file__).with_name("sentences.en.txt")
CLAUSE_WORDS = 3
_REPLY_SENTENCES = (1, 2, 3)
_PIECE = 5
"""Characters of a token at most, its space left out: long words take several."""

_TOKEN = re.compile(rf"\s*(?:\w{{1,{_PIECE}}}|[^\w\s]|$)")
_CLAUSE_END = re.compile(r"(?:[,;:!?—]|(?<=[a-z]{4})\.)(?=\s|$)")


def load_sentences(path: Path) -> list[str]:
    """One sentence a line; empty lines and those that begin with # are left out.

    Raises:
        CorpusError: nothing there.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except OSError as error:
        raise CorpusError(f"sentences {path} cannot be read: {error.strerror}") from None
    found = [line for line in lines if line and not line.startswith("#")]
    if not found:
        raise CorpusError(f"{path} has no sentences")
    return found


def replies(sentences: Sequence[str], seed: int) -> Iterator[str]:
    """Answers of one, two or three sentences, without end; all sentences before one comes again."""
    rng = random.Random(seed)
    waiting: list[str] = []
    while True:
        size = rng.choice(_REPLY_SENTENCES)
        while len(waiting) < size:
            more = list(sentences)
            rng.shuffle(more)
            waiting += more
        yield " ".join(waiting[:size])
        waiting = waiting[size:]


def tokens_of(text: str) -> list[str]:
    """`text` in fragments as a language model's tokenizer makes them; joined they are the text.

    A word comes with the space before it, a long one in pieces, a mark by itself.
    """
    tokens = [found[0] for found in _TOKEN.finditer(text) if found[0]]
    assert "".join(tokens) == text
    return tokens


def first_clause_end(text: str) -> int:
    """Characters of `text` with which its first speakable clause is complete and known to be.

    A clause has at least three words and ends at a mark; that the mark ends it shows the character
    after it ("3." may become "3.5"), which is counted in. A text without one is a clause.

    The definition is the benchmark's own, so that a service that waits for more looks slow.
    """
    for found in _CLAUSE_END.finditer(text):
        if len(text[: found.start()].split()) >= CLAUSE_WORDS:
            return min(len(text), found.end() + 1)
    return len(text)
