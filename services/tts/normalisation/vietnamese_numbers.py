"""Vietnamese numbers in words, letters and addresses. Pure.

num2words knows the hundreds; it leaves out "không trăm" ("no hundreds") in what follows them, so
the groups are put together here.
"""

import re

from services.tts.normalisation.base import in_words, read_digits
from services.tts.normalisation.vietnamese_terms import DIGITS, LETTERS, URL_SYMBOLS

_GROUPS = ("", " nghìn", " triệu")
_BILLION = 1_000_000_000
_MOST_DIGITS = 15
_PIECE = re.compile(r"[^\W\d_]+|\d+|[^\s\w]|_")


def cardinal(number: int) -> str:
    """ "1005" → "một nghìn không trăm lẻ năm"; too long ones digit by digit."""
    if len(str(number)) > _MOST_DIGITS:
        return digits(str(number))
    billions, rest = divmod(number, _BILLION)
    if not billions:
        return _below_billion(rest, whole=False)
    spoken = f"{cardinal(billions)} tỷ"
    return f"{spoken} {_below_billion(rest, whole=True)}" if rest else spoken


def _below_billion(number: int, *, whole: bool) -> str:
    """`whole`: something was said before, so missing hundreds are named."""
    if not number:
        return DIGITS[0]
    parts: list[str] = []
    for power in (2, 1, 0):
        group = number // 1000**power % 1000
        if group:
            parts.append(_group(group, whole or bool(parts)) + _GROUPS[power])
    return " ".join(parts)


def _group(number: int, whole: bool) -> str:
    spoken = in_words(number, "vi") or digits(str(number))
    if number >= 100 or not whole:
        return spoken
    return f"không trăm {'lẻ ' if number < 10 else ''}{spoken}"


def digits(text: str) -> str:
    return read_digits(text, DIGITS)


def number(text: str) -> str:
    """A number as it is written: sign, points between thousands, a decimal comma."""
    text = text.replace("−", "-")
    sign, text = ("âm ", text[1:]) if text.startswith("-") else ("", text.lstrip("+"))
    if re.fullmatch(r"\d{1,3}(?:,\d{3}){2,}", text):  # as in English
        text = text.replace(",", "")
    whole, _, decimals = text.replace(".", "").partition(",")
    many_zeros = len(whole) > 1 and whole.startswith("0")
    spoken = digits(whole) if many_zeros else cardinal(int(whole or "0"))
    return sign + (f"{spoken} phẩy {_decimals(decimals)}" if decimals else spoken)


def _decimals(text: str) -> str:
    return digits(text) if text.startswith("0") or len(text) > 2 else cardinal(int(text))


def spelled(letters: str) -> str:
    """ "FBI" → "ép bê i"."""
    return " ".join(LETTERS.get(letter.upper(), letter) for letter in letters)


def address(text: str) -> str:
    """ "nam@a-b.vn" → "nam a còng a gạch ngang b chấm vê nờ"."""
    return " ".join(_piece(piece) for piece in _PIECE.findall(text)).strip()


def _piece(piece: str) -> str:
    if piece.isdecimal():
        return digits(piece)
    if not piece.isalpha():
        return URL_SYMBOLS.get(piece, piece if not piece.isascii() else "")
    is_short = piece.isascii() and not re.search("[aeiouyAEIOUY]", piece)
    return spelled(piece) if is_short else piece
