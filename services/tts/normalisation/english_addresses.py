"""Web and mail addresses, handles, telephone numbers and postal codes in English words. Pure."""

import re

from services.tts.normalisation.base import Rule
from services.tts.normalisation.english_numbers import cardinal, digits, grouped_digits
from services.tts.normalisation.english_terms import URL_SYMBOLS

_DOMAIN_ENDS = "com|org|net|edu|gov|io|ai|co|dev|app|info|biz|me|tv|uk|us|eu|de|fr|vn|ca|au|jp"
_DOMAIN = rf"(?:[A-Za-z0-9-]+\.)+(?:{_DOMAIN_ENDS})"
_PIECE = re.compile(r"[A-Za-z]+|\d+|[^\sA-Za-z\d]")
_MANY_DIGITS = 3


def spelled(letters: str) -> str:
    """Letter by letter, as one word: "FBI" → "F.B.I"."""
    return ".".join(letters.upper())


def address(text: str) -> str:
    """ "joe@a-b.com/x1" → "joe at a dash b dot com slash x one"."""
    return " ".join(_piece(piece) for piece in _PIECE.findall(text))


def _piece(piece: str) -> str:
    if piece.isdecimal() and piece.isascii():
        many = len(piece) >= _MANY_DIGITS or piece.startswith("0")
        return digits(piece) if many else cardinal(int(piece))
    if not piece.isalpha():
        return URL_SYMBOLS.get(piece, piece if not piece.isascii() else " ").strip()
    if piece.isascii() and 1 < len(piece) < 6 and not re.search("[aeiouyAEIOUY]", piece):
        return spelled(piece)
    return piece


def _url(found: re.Match[str]) -> str | None:
    text = re.sub(r"^https?://", "", found[0], flags=re.IGNORECASE)
    return address(text.rstrip("/")) or None


def _tag(found: re.Match[str]) -> str:
    return f"{'hashtag' if found[1] == '#' else 'at'} {address(found[2])}"


def _phone(found: re.Match[str]) -> str | None:
    count = sum(map(str.isdigit, found[0]))
    return grouped_digits(found[0]) if 7 <= count <= 19 else None


ADDRESS_RULES: tuple[Rule, ...] = (
    (
        re.compile(r"(?<![\w.+%@-])[A-Za-z0-9][A-Za-z0-9._%+-]*@(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}"),
        lambda found: address(found[0]).replace(" at ", ", at "),  # a pause is better understood
    ),
    (
        re.compile(
            r"(?<!\w)(?:https?://|www\.)[^\s<>\"“”\ue000]*[^\s<>\"“”.,;:!?)\]}'’\ue000]",
            re.IGNORECASE,
        ),
        _url,
    ),
    (re.compile(rf"(?<![\w@.-]){_DOMAIN}(?:/[\w./?=&%#~-]*[\w/])?(?![\w@-]|\.\w)"), _url),
    (re.compile(r"(?<![\w&])([@#])([A-Za-z]\w*)"), _tag),
    (
        re.compile(
            r"(?<![\w.,$€£-])(?:\+\d{1,3}[ .-]?)?(?:1[ .-])?\(\d{2,4}\)[ .-]?\d{2,4}"
            r"(?:[ .-]\d{2,4}){1,3}(?![\w-]|[.,]\d)"
        ),
        _phone,
    ),
    (re.compile(r"(?<![\w.,])\+\d{1,3}(?:[ .-]?\d{2,4}){2,5}(?![\w-]|[.,]\d)"), _phone),
    (
        re.compile(
            r"(?<![\w.,$€£-])(?:1-)?\d{3}([ .-])\d{3}\1\d{4}(?![\w-]|[.,]\d)"
            r"|(?<![\w.,$€£-])\d{3}-\d{4}(?![\w-]|[.,]\d)"
            r"|(?<![\w.,$€£-])0\d{2,4}(?: \d{3,4}){1,3}(?![\w-]|[.,]\d)"
            r"|(?<![\w.,$€£-])(?:\d{4}[ -]){3}\d{4}(?![\w-]|[.,]\d)"
            r"|(?<![\w.,$€£-])\d{3}-\d{2}-\d{4}(?![\w-]|[.,]\d)"
        ),
        _phone,
    ),
    (
        re.compile(r"(?<=\b[A-Z]{2}\s)(\d{5})(?:-(\d{4}))?(?![\w,.]\d|\w)"),
        lambda found: ", ".join(digits(part) for part in found.groups() if part),
    ),
)
