"""Patterns of dialled numbers, as Asterisk's dial plan has them. Pure.

`5551234` is that number. After a `_`: `X` is a digit, `Z` one of 1-9, `N` one of 2-9, `[15-8]` one
of those, `.` at least one more character, `!` any number of them; both only at the end.
Extensions may have names, too.
Spaces, hyphens, dots between digits, parentheses and a leading `+` say nothing and are left out.
"""

import re
from dataclasses import dataclass, field

MAX_PATTERN = 80
_CLASSES = {"X": "0123456789", "Z": "123456789", "N": "23456789"}
_KEYS = "0123456789*#ABCDabcd"
_IGNORED = str.maketrans("", "", " -()\t")


class PatternError(ValueError):
    """Not a pattern; the sentence says where."""


def plain_number(number: str) -> str:
    """A number as it is compared: `+1 (555) 010-0` and `155501-00` are the same."""
    return number.translate(_IGNORED).replace(".", "").removeprefix("+")


@dataclass(frozen=True, slots=True)
class DidPattern:
    """A pattern that can be matched.

    Raises:
        PatternError: by :meth:`parse`.
    """

    text: str
    """As it was written, without what says nothing."""
    choices: tuple[frozenset[str], ...]
    """Of each character."""
    at_least: int | None
    """Further characters that must follow; None: none may."""
    _expression: re.Pattern[str] = field(repr=False, compare=False)

    @classmethod
    def parse(cls, text: str) -> "DidPattern":
        written = text.strip().translate(_IGNORED) if "[" not in text else text.strip()
        is_pattern = written.startswith("_")
        body = written[1:].removeprefix("+") if is_pattern else plain_number(written)
        if not body or len(body) > MAX_PATTERN:
            raise PatternError(f"a pattern has 1 to {MAX_PATTERN} characters, not {len(body)}")
        choices, at_least = _characters(body) if is_pattern else (_literal(body), None)
        tail = "" if at_least is None else f".{{{at_least},}}"
        expression = "".join(f"[{''.join(map(re.escape, sorted(each)))}]" for each in choices)
        name = f"_{body}" if is_pattern else body
        return cls(name, choices, at_least, re.compile(expression + tail, re.DOTALL))

    def matches(self, number: str) -> bool:
        return self._expression.fullmatch(plain_number(number).upper()) is not None

    @property
    def specificity(self) -> tuple[int, int, int]:
        """More specific patterns have greater ones: exact length, more characters, less choice."""
        choice = sum(len(each) for each in self.choices)
        return (self.at_least is None, len(self.choices), -choice)


def _literal(body: str) -> tuple[frozenset[str], ...]:
    for character in body:
        if not (character.isascii() and character.isalnum()) and character not in "*#":
            raise PatternError(
                f"{character!r} is in no number or extension; patterns begin with an underscore"
            )
    return tuple(frozenset(character.upper()) for character in body)


def _characters(body: str) -> tuple[tuple[frozenset[str], ...], int | None]:
    choices: list[frozenset[str]] = []
    at = 0
    while at < len(body):
        character = body[at]
        if character in ".!":
            if at + 1 < len(body):
                raise PatternError(f"{character!r} ends a pattern, but {body[at + 1 :]!r} follows")
            return tuple(choices), 1 if character == "." else 0
        if character == "[":
            end = body.find("]", at)
            if end < 0:
                raise PatternError("a '[' without its ']'")
            choices.append(_set(body[at + 1 : end]))
            at = end
        elif character in _CLASSES:
            choices.append(frozenset(_CLASSES[character]))
        elif character in _KEYS:
            choices.append(frozenset(character.upper()))
        elif character not in " -()":
            raise PatternError(f"{character!r} stands for nothing in a pattern")
        at += 1
    if not choices:
        raise PatternError("the pattern matches nothing")
    return tuple(choices), None


def _set(listed: str) -> frozenset[str]:
    """`15-8` is 1, 5, 6, 7 and 8."""
    found: set[str] = set()
    for part in re.findall(r".-.|.", listed):
        first, last = part[0], part[-1]
        digits = "0123456789"
        if len(part) == 3:
            if first not in digits or last not in digits or first > last:
                raise PatternError(f"{part!r} is no range of digits")
            found |= set(digits[int(first) : int(last) + 1])
        elif first in _KEYS:
            found.add(first.upper())
        else:
            raise PatternError(f"{first!r} is no key of a telephone")
    if not found:
        raise PatternError("'[]' matches nothing")
    return frozenset(found)
