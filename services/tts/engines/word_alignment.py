"""Finds the phonemes of each written word in the phonemes of the whole text.

A phonemizer reads a text as a whole: it says "42" in two words, runs "of the" together and weakens
"a", and does not tell which sound came from where. So each word is also phonemized alone and both
sequences are aligned like two spellings of one text, at the least cost of edits.
"""

import unicodedata
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int32]

_VOWELS = frozenset("aeiouyæøœɐɑɒɔəɘɚɛɜɝɞɤɨɪɯɵɶʉʊʌʏᵻɹ")
_STRESS = frozenset("ˈˌ")
_SPACE, _VOWEL, _CONSONANT = 0, 1, 2
_GAP = (2, 7, 8)
"""Cost of a symbol that the other side lacks, by kind: words often run together."""
_EXCHANGE = ((0, 30, 30), (30, 5, 11), (30, 11, 9))
"""Cost of one symbol for another, by their kinds; equal symbols cost nothing."""


def align_words(
    phonemes: Sequence[str], words: Sequence[Sequence[str]]
) -> list[tuple[int, int] | None]:
    """Where each word is in `phonemes`.

    Args:
        phonemes: symbols of the whole text as it is spoken, with spaces and punctuation.
        words: symbols of each word as it is spoken alone.

    Returns:
        For each word the range [first, end) of its sounds, in order and without overlap; an empty
        range for a word that was swallowed, None for a word without any sound of its own.
    """
    heard = [i for i, symbol in enumerate(phonemes) if _kind(symbol) is not None]
    symbols, owners = _flatten(words)
    owner_of = _owners([_plain(phonemes[i]) for i in heard], symbols, owners)
    spans: dict[int, tuple[int, int]] = {}
    for index, owner in zip(heard, owner_of, strict=True):
        if owner >= 0:
            first, _ = spans.get(owner, (index, index))
            spans[owner] = (first, index + 1)
    ranges: list[tuple[int, int] | None] = []
    at = 0
    for number, word in enumerate(words):
        if span := spans.get(number):
            span = _with_marks(phonemes, span)
            at = span[1]
        elif any(_is_sound(symbol) for symbol in word):
            span = (at, at)
        ranges.append(span)
    return ranges


def _kind(symbol: str) -> int | None:
    """None for stress, length and tone marks, which say nothing about identity."""
    if symbol in _VOWELS:
        return _VOWEL
    category = unicodedata.category(symbol[0])
    if category[0] in "PZ":
        return _SPACE
    return _CONSONANT if category in ("Ll", "Lo", "Lu") else None


def _plain(symbol: str) -> str:
    """The symbol; a space for anything that divides words."""
    return " " if _kind(symbol) == _SPACE else symbol


def _with_marks(phonemes: Sequence[str], span: tuple[int, int]) -> tuple[int, int]:
    """The range with the stress before it and the length marks after it."""
    first, end = span
    while first and phonemes[first - 1] in _STRESS:
        first -= 1
    while end < len(phonemes) and phonemes[end] not in _STRESS and _is_modifier(phonemes[end]):
        end += 1
    return first, end


def _is_modifier(symbol: str) -> bool:
    return unicodedata.category(symbol[0]) in ("Lm", "Mn")


def _is_sound(symbol: str) -> bool:
    return _kind(symbol) not in (None, _SPACE)


def _flatten(words: Sequence[Sequence[str]]) -> tuple[list[str], list[int]]:
    """All words' symbols in a row, one space between words, and the word of each."""
    symbols: list[str] = []
    owners: list[int] = []
    for number, word in enumerate(words):
        kept = [_plain(symbol) for symbol in word if _kind(symbol) is not None]
        joined = "".join(kept).strip(" ")
        if joined and symbols:
            symbols.append(" ")
            owners.append(-1)
        symbols += joined
        owners += [number] * len(joined)
    return symbols, owners


def _owners(heard: list[str], symbols: list[str], owners: list[int]) -> list[int]:
    """The word of each heard symbol; -1 for spaces."""
    found = [-1] * len(heard)
    for row, column in _pairs(symbols, heard):
        if heard[column] != " ":
            found[column] = owners[row]
    return _fill(heard, found)


def _fill(heard: list[str], owners: list[int]) -> list[int]:
    """Sounds that matched nothing go with a neighbour, of the same spoken word if possible."""
    for across_spaces in (False, True):
        owners = _spread(heard, owners, across_spaces)
        owners = _spread(heard[::-1], owners[::-1], across_spaces)[::-1]
    return owners


def _spread(heard: list[str], owners: list[int], across_spaces: bool) -> list[int]:
    """Each sound without an owner takes that of the sound before it."""
    spread = []
    previous = -1
    for symbol, owner in zip(heard, owners, strict=True):
        if symbol == " ":
            previous = previous if across_spaces else -1
            spread.append(-1)
        else:
            previous = owner if owner >= 0 else previous
            spread.append(previous)
    return spread


def _pairs(rows: list[str], columns: list[str]) -> list[tuple[int, int]]:
    """Pairs (row, column) of the cheapest alignment of two symbol sequences."""
    row_kinds, column_kinds = _kinds(rows), _kinds(columns)
    table = _table(rows, columns, row_kinds, column_kinds)
    gap = np.array(_GAP)
    pairs = []
    i, j = len(rows), len(columns)
    while i and j:
        here = table[i, j]
        equal = rows[i - 1] == columns[j - 1]
        exchange = 0 if equal else _EXCHANGE[row_kinds[i - 1]][column_kinds[j - 1]]
        if here == table[i - 1, j - 1] + exchange:
            i, j = i - 1, j - 1
            pairs.append((i, j))
        elif here == table[i - 1, j] + gap[row_kinds[i - 1]]:
            i -= 1
        else:
            j -= 1
    return pairs


def _table(rows: list[str], columns: list[str], row_kinds: Ints, column_kinds: Ints) -> Ints:
    """Costs of aligning the first i rows with the first j columns, [rows + 1, columns + 1]."""
    gap, exchange = np.array(_GAP, dtype=np.int32), np.array(_EXCHANGE, dtype=np.int32)
    column_codes = np.array([ord(symbol[0]) for symbol in columns], dtype=np.int32)
    insert = np.concatenate([[0], np.cumsum(gap[column_kinds])]).astype(np.int32)
    table = np.empty((len(rows) + 1, len(columns) + 1), dtype=np.int32)
    table[0] = insert
    for i, symbol in enumerate(rows):
        above = table[i]
        cost = exchange[row_kinds[i]][column_kinds]
        cost = np.where(column_codes == ord(symbol[0]), 0, cost)
        best = above + gap[row_kinds[i]]
        best[1:] = np.minimum(best[1:], above[:-1] + cost)
        # Insertions run along the row: subtract their running cost, take the running minimum.
        table[i + 1] = np.minimum.accumulate(best - insert) + insert
    return table


def _kinds(symbols: list[str]) -> Ints:
    return np.array([_kind(symbol) or 0 for symbol in symbols], dtype=np.int32)
