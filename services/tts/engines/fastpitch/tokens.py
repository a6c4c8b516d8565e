"""From text to the token ids of a FastPitch model, as NeMo's tokenisers give them. Pure.

NeMo's own are not used at run time: they do not tell which word a token comes from, change shared
state for the length of a call, and would bring torch with them. Other than they this takes any
white space for one space, and `|` never for the beginning of phonemes.
"""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

from services.tts.engines.fastpitch.pronunciation import Pronouncer

SPACE = " "
_PLAIN = {
    **dict.fromkeys("“”„«»", '"'),
    **dict.fromkeys("‘’ʼ`´", "'"),
    **dict.fromkeys("–—−‐‑", "-"),
    "…": "...",
}
"""Marks as `scripts/training/texts.py` writes them for the models that it trains."""


class TokenTable(BaseModel):
    """The symbols that a model knows, and how text is written before it is looked up."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ids: dict[str, int]
    """Of letters, phonemes and marks; the space has its own."""
    marks: tuple[str, ...]
    """Those of `ids` that are punctuation: they are heard as pauses at most."""
    space: int
    pad_with_space: bool
    lowercase: bool = False
    accents: Literal["keep", "strip"] = "keep"
    apostrophes: bool = False
    """’ is read as an apostrophe."""
    stresses: bool = True
    """False: the digits of ARPAbet's vowels are left out."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens to be spoken in one go."""

    ids: tuple[int, ...]
    owners: tuple[int, ...]
    """The word that a token sounds; -1 for what has no sound of its own."""


@dataclass(frozen=True, slots=True)
class Spelling:
    """One word in tokens."""

    ids: tuple[int, ...]
    sounds: tuple[bool, ...]
    """False for marks and apostrophes."""

    def divided(self, size: int) -> Iterator["Spelling"]:
        """Itself, in parts of at most `size` tokens."""
        for at in range(0, max(1, len(self.ids)), size):
            yield Spelling(self.ids[at : at + size], self.sounds[at : at + size])


class Tokeniser:
    """Text to ids for one model.

    Args:
        table: its symbols.
        pronouncer: for models that read phonemes; None: letters.
    """

    def __init__(self, table: TokenTable, pronouncer: Pronouncer | None = None) -> None:
        self._table = table
        self._pronouncer = pronouncer
        self._silent = frozenset((*table.marks, "'"))

    def in_known_marks(self, text: str) -> str:
        """With plain marks for those that the model lacks, which `spell` would leave out."""
        return "".join(self._known_mark(char) for char in text)

    def spell(self, word: str) -> Spelling:
        """Tokens of a text without white space; what the model does not know is left out."""
        text = self._written(word)
        symbols = self._pronouncer.symbols(text) if self._pronouncer else iter(text)
        known = [symbol for symbol in map(self._plain, symbols) if symbol in self._table.ids]
        return Spelling(
            tuple(self._table.ids[symbol] for symbol in known),
            tuple(symbol not in self._silent for symbol in known),
        )

    def join(self, words: Iterable[tuple[int, Sequence[Spelling]]]) -> Tokens:
        """Words in a row, one space between what is not empty.

        Args:
            words: numbers of words, each with the spellings of its parts.
        """
        space = self._table.space
        ids: list[int] = []
        owners: list[int] = []
        for number, spelling in ((number, one) for number, parts in words for one in parts):
            if spelling.ids and ids:
                ids.append(space)
                owners.append(-1)
            ids += spelling.ids
            owners += [number if sound else -1 for sound in spelling.sounds]
        if self._table.pad_with_space:
            ids, owners = [space, *ids, space], [-1, *owners, -1]
        return Tokens(tuple(ids), tuple(owners))

    def encode(self, text: str) -> tuple[int, ...]:
        """Ids of a whole text."""
        return self.join([(0, [self.spell(word) for word in text.split()])]).ids

    def _written(self, text: str) -> str:
        text = text.replace("|", "")
        if self._table.apostrophes:
            text = text.replace("’", "'")
        if self._table.accents == "strip":
            text = "".join(_without_accents(text)).replace("“", '"').replace("”", '"')
        else:
            text = unicodedata.normalize("NFC", text)
        return text.lower() if self._table.lowercase else text

    def _known_mark(self, char: str) -> str:
        plain = _PLAIN.get(char, char)
        known = self._table.ids
        return plain if char not in known and all(each in known for each in plain) else char

    def _plain(self, symbol: str) -> str:
        if not self._table.stresses and len(symbol) == 3 and symbol.isalnum():
            return symbol[:2]
        return symbol


def _without_accents(text: str) -> Iterator[str]:
    for char in unicodedata.normalize("NFD", text):
        if unicodedata.category(char) != "Mn":
            yield char
