"""What normalisers share: rules that replace written forms by words, each with its place.

A rule is a pattern and what to say for a match, or None when the match is not meant. Rules are
tried in order; what one has claimed, no later one sees. Pure.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from num2words import num2words

CLAIMED = "\ue000"
"""Stands for characters that an earlier rule has claimed, in the patterns of later ones."""
_LONGEST_NUMBER = 15
"""Digits; longer ones are read digit by digit."""
_PRIVATE = re.compile("[\ue000-\uf8ff]")


@dataclass(frozen=True, slots=True)
class Replacement:
    """Say `spoken` for the characters from `start` to `end`."""

    start: int
    end: int
    spoken: str


Rule = tuple[re.Pattern[str], Callable[[re.Match[str]], str | None]]
Normaliser = Callable[[str, Sequence[Replacement]], list[Replacement]]
"""Gives what to replace in a text, in order, without overlap, the given replacements included."""


def apply_rules(
    text: str, rules: Iterable[Rule], claimed: Sequence[Replacement] = ()
) -> list[Replacement]:
    """What `rules` replace in `text`, in order of place, `claimed` included."""
    found = list(claimed)
    rest = _PRIVATE.sub(" ", text)
    for one in claimed:
        rest = _claim(rest, one)
    for pattern, say in rules:
        matches = list(pattern.finditer(rest))
        for match in matches:
            spoken = say(match)
            if spoken is not None:
                one = Replacement(_begin(match), match.end(), spoken)
                found.append(one)
                rest = _claim(rest, one)
    return sorted(found, key=lambda one: one.start)


def replaced(text: str, replacements: Iterable[Replacement]) -> str:
    """`text` with the replacements, which must be in order, done; words are kept apart."""
    parts: list[str] = []
    at = 0
    for one in replacements:
        _add(parts, text[at : one.start])
        _add(parts, one.spoken)
        at = one.end
    _add(parts, text[at:])
    return "".join(parts)


def read_digits(digits: str, names: Sequence[str]) -> str:
    """ "407" → "four zero seven"; characters that are no digits are left out."""
    return " ".join(names[int(char)] for char in digits if char.isdecimal())


def in_words(number: int, language: str, form: str = "cardinal") -> str | None:
    """`number` by num2words, without commas; None when it is too long to be said so."""
    if len(str(abs(number))) > _LONGEST_NUMBER:
        return None
    spoken: str = num2words(number, lang=language, to=form)
    return spoken.replace(",", "")


def _begin(match: re.Match[str]) -> int:
    """What a rule calls `before` is there to tell what follows; it is said as it is written."""
    return match.end("before") if "before" in match.re.groupindex else match.start()


def _claim(text: str, one: Replacement) -> str:
    return text[: one.start] + CLAIMED * (one.end - one.start) + text[one.end :]


def _add(parts: list[str], part: str) -> None:
    if parts and parts[-1].endswith(" "):
        part = part.lstrip(" ")
    if part:
        if parts and _sounds(parts[-1][-1]) and _sounds(part[0]):
            parts.append(" ")
        parts.append(part)


def _sounds(char: str) -> bool:
    return char.isalnum() or char in "[]"
