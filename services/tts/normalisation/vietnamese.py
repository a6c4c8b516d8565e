"""Vietnamese as it is read aloud: numbers, dates, times, money, addresses, codes in words. Pure.

A point divides thousands, a comma decimals; days come before months.
"""

import re
from collections.abc import Sequence

from services.tts.normalisation.base import CLAIMED, Replacement, Rule, apply_rules
from services.tts.normalisation.vietnamese_numbers import (
    address,
    cardinal,
    digits,
    number,
    spelled,
)
from services.tts.normalisation.vietnamese_terms import (
    ABBREVIATIONS,
    CURRENCIES,
    SCALES,
    SYMBOLS,
    UNITS,
)

_N = r"\d{1,3}(?:\.\d{3})+(?:,\d+)?|\d{1,3}(?:,\d{3}){2,}|\d+(?:,\d+)?"
_BEGIN = r"(?<![\w.,])"
_END = r"(?!\w)"
_SIGN = r"(?P<sign>(?:(?<![\w)\ue000])[-−+])?)"
_LOW = rf"(?:(?P<low>{_N})\s?[-–—]\s?)?"


def _any(names: dict[str, str]) -> str:
    return "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))


_SCALE = rf"(?:\s?(?P<scale>{_any(SCALES)})(?!\w))?"
_CODE_AFTER = (
    r"(?:PIN|OTP|[Mm]ã(?:\s(?:số|xác\snhận|đơn))*|CMND|CCCD|[Ss]ố\stài\skhoản|[Mm]ật\skhẩu)"
)


_SAID_AS_WORDS = frozenset({"PIN", "SIM", "NATO", "ASEAN", "COVID", "OPEC", "UNESCO", "UNICEF"})
_ROMAN = {
    roman: cardinal(value)
    for value, roman in enumerate(
        re.findall(
            r"\w+",
            "I II III IV V VI VII VIII IX X XI XII XIII XIV XV XVI XVII XVIII XIX XX XXI XXII",
        ),
        1,
    )
}


def _date(found: re.Match[str]) -> str | None:
    day, month = int(found["day"]), int(found["month"])
    if not (1 <= day <= 31 and 1 <= month <= 12):
        return None
    before = found.string[: found.start()].lower()
    named = "" if re.search(r"(?:ngày|mùng|mồng)\s$", before) else "ngày "
    # The first ten days are "mùng" when one speaks of them alone.
    spoken = f"{named}{cardinal(day)} tháng {_month(month)}"
    return spoken if not found["year"] else f"{spoken} năm {cardinal(int(found['year']))}"


def _iso(found: re.Match[str]) -> str | None:
    year, month, day = map(int, found.groups())
    if not (1 <= day <= 31 and 1 <= month <= 12):
        return None
    return f"ngày {cardinal(day)} tháng {_month(month)} năm {cardinal(year)}"


def _month(month: int) -> str:
    return "tư" if month == 4 else cardinal(month)


def _month_year(found: re.Match[str]) -> str:
    return f"tháng {_month(int(found[1]))} năm {cardinal(int(found[2]))}"


def _time(found: re.Match[str]) -> str:
    spoken = f"{cardinal(int(found['hour']))} giờ"
    if found["short"]:
        return f"{spoken} {cardinal(int(found['short']))}"
    if minute := int(found["minute"] or 0):
        spoken += f" {cardinal(minute)}"
        if found["second"] or ":" in found[0]:
            spoken += " phút"
    if found["second"] and (second := int(found["second"])):
        spoken += f" {cardinal(second)} giây"
    return spoken


def _money(found: re.Match[str]) -> str:
    scale = SCALES[found["scale"]] + " " if found["scale"] else ""
    low = f"{number(found['low'])} đến " if found["low"] else ""
    return f"{low}{number(found['sign'] + found['amount'])} {scale}{CURRENCIES[found['currency']]}"


def _measure(found: re.Match[str]) -> str:
    low = f"{number(found['low'])} đến " if found["low"] else ""
    return f"{low}{number(found['sign'] + found['number'])} {UNITS[found['unit']]}"


def _percent(found: re.Match[str]) -> str:
    low = f"{number(found['low'])} đến " if found["low"] else ""
    return f"{low}{number(found['sign'] + found['number'])} phần trăm"


def _fraction(found: re.Match[str]) -> str | None:
    above, below = int(found[1]), int(found[2])
    if not below:
        return None
    return f"{cardinal(above)} phần {_month(below)}"


def _phone(found: re.Match[str]) -> str | None:
    groups = re.findall(r"\d+", found[0])
    if not 8 <= sum(map(len, groups)) <= 15:
        return None
    return ("cộng " if found[0].startswith("+") else "") + ", ".join(map(digits, groups))


def _code(found: re.Match[str]) -> str | None:
    text = found[0]
    if not (any(map(str.isdigit, text)) and any(map(str.isalpha, text))):
        return None
    parts = re.findall(r"[A-Za-zĐđ]+|\d+", text)
    return " ".join(spelled(part) if part.isalpha() else _code_digits(part) for part in parts)


def _code_digits(part: str) -> str:
    return digits(part) if len(part) > 2 or part.startswith("0") else cardinal(int(part))


def _acronym(found: re.Match[str]) -> str | None:
    letters = found[0]
    if letters in _SAID_AS_WORDS:
        return None
    before, after = found.string[: found.start()], found.string[found.end() :]
    shouted = r"[A-ZÀ-Ỹ]{2,}"
    if re.search(rf"{shouted}\W{{1,3}}$", before) or re.match(rf"\W{{1,3}}{shouted}", after):
        return None  # somebody shouts
    return spelled(letters)


def _apart(word: str) -> str:
    return f" {word} "


_RULES: tuple[Rule, ...] = (
    (
        re.compile(r"(?<![\w.+%@-])[A-Za-z0-9][A-Za-z0-9._%+-]*@(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}"),
        lambda found: address(found[0]),
    ),
    (
        re.compile(
            r"(?<!\w)(?:https?://|www\.)[^\s<>\"“”\ue000]*[^\s<>\"“”.,;:!?)\]}'’\ue000]"
            r"|(?<![\w@.-])(?:[A-Za-z0-9-]+\.)+(?:com|vn|net|org|io|edu|gov)(?:/[\w./?=&%#~-]*\w)?"
            r"(?![\w@-]|\.\w)",
            re.IGNORECASE,
        ),
        lambda found: address(re.sub(r"^https?://", "", found[0], flags=re.IGNORECASE)) or None,
    ),
    (re.compile(rf"(?<!\w)(?:{_any(ABBREVIATIONS)}){_END}"), lambda found: ABBREVIATIONS[found[0]]),
    (re.compile(r"(?<![\w.,/-])(\d{4})-(\d\d)-(\d\d)(?![\w-])"), _iso),
    (
        re.compile(
            r"(?<![\w.,/-])(?P<day>\d{1,2})(?P<mark>[/.-])(?P<month>\d{1,2})(?P=mark)"
            r"(?P<year>\d{4})(?![\w/-]|[.,]\d)"
        ),
        _date,
    ),
    (
        re.compile(
            r"(?<=[Nn]gày\s)(?P<day>\d{1,2})[/-](?P<month>\d{1,2})(?P<year>)(?![\w/-]|[.,]\d)"
        ),
        _date,
    ),
    (re.compile(r"(?<!\w)[Tt]háng\s(0?[1-9]|1[0-2])[/-](\d{4})(?!\w)"), _month_year),
    (re.compile(r"(?<=[Tt]háng\s)4(?![\w/]|[.,]\d)"), lambda _: "tư"),
    (
        re.compile(r"(?P<before>\b[Qq]uý\s)([1-4]|I{1,3}|IV)[/-](\d{4})(?!\w)"),
        lambda found: (
            f"{_ROMAN.get(found[2]) or cardinal(int(found[2]))} năm {cardinal(int(found[3]))}"
        ),
    ),
    (
        re.compile(r"(?<=\b[Tt]hứ\s)([14])(?![\w/]|[.,]\d)"),
        lambda found: "nhất" if found[1] == "1" else "tư",
    ),
    (
        re.compile(
            r"(?P<before>\b(?:[Tt]hế\skỷ|[Cc]hương|[Pp]hần|[Qq]uý|[Tt]ập|[Kk]hóa|[Đđ]ại\shội|[Ll]ần"
            r"\sthứ)\s)([IVX]+)(?!\w)"
        ),
        lambda found: _ROMAN.get(found[2]),
    ),
    (
        re.compile(
            r"(?<![\w.,:])(?P<hour>[01]?\d|2[0-4])(?::(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d))?"
            r"|[hg](?P<short>[0-5]\d)?)(?![\w]|:\d)"
        ),
        _time,
    ),
    (
        re.compile(
            r"(?<![\w.,$€£-])(?:\+\d{1,3}(?:[ .-]?\d{2,4}){2,5}|0\d{8,10}"
            r"|0\d{2,4}(?:[ .-]\d{3,4}){2}|1[89]00(?:[ .-]?\d{2,4}){1,2})(?![\w-]|[.,]\d)"
        ),
        _phone,
    ),
    (
        re.compile(
            rf"{_BEGIN}{_LOW}{_SIGN}(?P<amount>{_N}){_SCALE}\s?(?P<currency>{_any(CURRENCIES)}){_END}"
        ),
        _money,
    ),
    (
        re.compile(
            rf"{_BEGIN}(?P<low>){_SIGN}(?P<currency>US\$|[$€£¥₫])\s?(?P<amount>{_N}){_SCALE}{_END}"
        ),
        _money,
    ),
    (re.compile(rf"{_BEGIN}{_LOW}{_SIGN}(?P<number>{_N})\s?%"), _percent),
    (
        re.compile(rf"{_BEGIN}{_LOW}{_SIGN}(?P<number>{_N})\s?(?P<unit>{_any(UNITS)}){_END}"),
        _measure,
    ),
    (
        re.compile(rf"(?<=[\d{CLAIMED}])\s?/\s?(?P<unit>{_any(UNITS)}){_END}"),
        lambda found: f" trên {UNITS[found['unit']]}",
    ),
    (re.compile(rf"(?<=[\d{CLAIMED}])\s?/\s?(?=[^\W\d])"), lambda _: _apart("trên")),
    (re.compile(r"(?<![\w.,/])(\d{1,3})/(\d{1,4})(?![\w/])"), _fraction),
    (
        re.compile(
            rf"(?<!\w)(?P<before>{_CODE_AFTER}[\s:#]{{1,3}}(?:là\s)?)(\d{{2,}})(?!\w|[.,]\d)"
        ),
        lambda found: digits(found[2]),
    ),
    (
        re.compile(rf"{_BEGIN}(?P<low>{_N})(?:[-–]|\s[–—]\s)(?P<high>{_N})(?![\w-])"),
        lambda found: f"{number(found['low'])} đến {number(found['high'])}",
    ),
    (
        re.compile(rf"{_BEGIN}({_N}){_SCALE}{_END}"),
        lambda found: f"{number(found[1])} {SCALES[found['scale']]}" if found["scale"] else None,
    ),
    (
        re.compile(r"(?<![\w.])[A-Za-zĐđ]*\d[A-Za-z\dĐđ]*(?:-[A-Za-zĐđ]*\d[A-Za-zĐđ\d]*)*(?!\w)"),
        _code,
    ),
    (re.compile(r"(?<![\w'’-])[A-ZĐ]{2,6}(?!\w)"), _acronym),
    (re.compile(rf"(?<!\w){_SIGN}(?P<number>{_N})(?!\w)"), lambda found: number(found[0])),
    (re.compile(r"\d+"), lambda found: number(found[0]) if found[0].isascii() else None),
    (re.compile(rf"(?<=[\d{CLAIMED}])\s?[x×*]\s?(?=[\d{CLAIMED}])"), lambda _: _apart("nhân")),
    (re.compile(rf"(?<=[\d{CLAIMED}])\s-\s(?=[\d{CLAIMED}])"), lambda _: _apart("trừ")),
    (re.compile(r"(?<!\w)~(?=[\d\ue000])"), lambda _: "khoảng "),
    (
        re.compile("[" + "".join(map(re.escape, SYMBOLS)) + "]"),
        lambda found: _apart(SYMBOLS[found[0]]),
    ),
    (re.compile(r"[|\\^~*_`{}#]+"), lambda _: " "),
)


_SOMETHING = re.compile(
    r"[\d|\\^~*_`{}#/" + "".join(map(re.escape, SYMBOLS)) + r"]|[A-ZĐ]{2}|\w\.\w|"
    rf"(?<!\w)(?:{_any(ABBREVIATIONS)})(?!\w)"
)
"""Without any of this no rule has anything to say, and most text has none of it."""


class Vietnamese:
    """Normalises Vietnamese text."""

    def __call__(self, text: str, claimed: Sequence[Replacement] = ()) -> list[Replacement]:
        if not _SOMETHING.search(text):
            return list(claimed)
        return apply_rules(text, _RULES, claimed)
