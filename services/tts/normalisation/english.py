"""English as it is read aloud: numbers, dates, times, money, addresses, codes in words. Pure.

The order of the rules is their meaning: an address before the numbers in it, a date before a range.
"""

import re
from collections.abc import Sequence

from services.tts.normalisation import english_numbers as numbers
from services.tts.normalisation.base import CLAIMED, Replacement, Rule, apply_rules
from services.tts.normalisation.english_addresses import ADDRESS_RULES, spelled
from services.tts.normalisation.english_dates import date_rules
from services.tts.normalisation.english_numbers import cardinal, digits, is_one, number
from services.tts.normalisation.english_terms import (
    ABBREVIATIONS,
    CURRENCIES,
    SAID_AS_WORDS,
    SCALES,
    SYMBOLS,
    TITLES,
    UNITS,
)

_N = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+"
"""A number without its sign."""
_BEGIN = r"(?<![\w.,])"
_SIGN = r"(?:(?<![\w)\ue000])[-−+])?"
_END = r"(?![\w])"
_DASH = r"\s?[-–—]\s?"
_CURRENCY = "|".join(re.escape(sign) for sign in sorted(CURRENCIES, key=len, reverse=True))
_UNIT = "|".join(re.escape(unit) for unit in sorted(UNITS, key=len, reverse=True))
_SCALE = r"(?:\s?(?P<scale>thousand|million|billion|trillion|[kKmMbBtT]n?))?"
_TITLE = "|".join(title.capitalize() for title in TITLES)
_ROMAN = {
    roman: value
    for value, roman in enumerate(
        re.findall(
            r"\w+", "I II III IV V VI VII VIII IX X XI XII XIII XIV XV XVI XVII XVIII XIX XX"
        ),
        1,
    )
}
_ROMAN_AFTER = "War|Chapter|Part|Volume|Vol|Act|Section|Phase|Type|Level|Article|Book|Title|Class"
_CODE_AFTER = (
    r"(?:PIN|[Cc]odes?|OTP|[Pp]asscode|[Pp]assword|ID|[Ee]xtension|[Ee]xt|[Zz]ip|ZIP|[Ss]erial|"
    r"[Cc]onfirmation|[Rr]eference|[Tt]racking|[Rr]outing|[Aa]ccount|[Cc]ase|[Tt]icket)"
)
_TIME_UNIT = "second|minute|hour|day|night|week|month|quarter|year|person|user|call|mile|item|unit"


def _money(found: re.Match[str]) -> str | None:
    scale = SCALES.get((found["scale"] or "").lower())
    return _amount(found["sign"] or "", found["amount"], found["currency"], scale)


def _amount(sign: str, amount: str, currency: str, scale: str | None) -> str:
    one, many, small, smalls = CURRENCIES[currency]
    minus = "minus " if sign else ""
    whole, _, decimals = amount.replace(",", "").partition(".")
    if scale:
        return f"{minus}{number(amount)} {scale} {many}"
    if len(decimals) != 2 or not small:
        return f"{minus}{number(amount)} {one if is_one(amount) else many}"
    cents = int(decimals)
    in_cents = f"{cardinal(cents)} {small if cents == 1 else smalls}"
    in_units = f"{cardinal(int(whole))} {one if whole == '1' else many}"
    if not cents:
        return minus + in_units
    return minus + (in_cents if not int(whole) else f"{in_units} and {in_cents}")


def _money_range(found: re.Match[str]) -> str:
    scale = SCALES.get((found["scale"] or "").lower())
    upper = _amount("", found["high"], found["currency"], scale)
    return f"{number(found['low'])} to {upper}"


def _measure(found: re.Match[str]) -> str:
    one, many = UNITS[found["unit"]]
    text = found["sign"] + found["number"]
    if found["low"]:
        return f"{number(found['low'])} to {number(found['number'])} {many}"
    return f"{number(text)} {one if is_one(text) else many}"


def _percent(found: re.Match[str]) -> str:
    low = f"{number(found['low'])} to " if found["low"] else ""
    return f"{low}{number(found['sign'] + found['number'])} percent"


def _fraction(found: re.Match[str]) -> str | None:
    whole, above, below = found["whole"], int(found["above"]), int(found["below"])
    if (above, below) in ((24, 7), (9, 11)):
        return f"{cardinal(above)} {cardinal(below)}"
    if not below or len(found["above"]) > 3 or len(found["below"]) > 4:
        return None
    spoken = numbers.fraction(above, below)
    return f"{cardinal(int(whole))} and {spoken}".replace("and one ", "and a ") if whole else spoken


def _range(found: re.Match[str]) -> str:
    low, high = found["low"], found["high"]
    both_years = all(re.fullmatch(r"1[1-9]\d\d|20\d\d", each) for each in (low, high))
    say = (lambda text: numbers.year(int(text))) if both_years else number
    return f"{say(low)} to {say(high)}"


def _code(found: re.Match[str]) -> str | None:
    text = found[0]
    if not (any(map(str.isdigit, text)) and any(map(str.isalpha, text))):
        return None
    parts = re.findall(r"[A-Za-z]+|\d+", text)
    if len(parts) == 2 and parts[0].istitle() and len(parts[0]) > 2:  # a name: Windows11
        return f"{parts[0]} {number(parts[1])}"
    return "-".join(_code_part(part) for part in parts)


def _code_part(part: str) -> str:
    if part.isalpha():
        is_word = len(part) > 3 and (part.islower() or part.istitle() or part in SAID_AS_WORDS)
        return part if is_word or part in SAID_AS_WORDS and len(part) > 2 else spelled(part)
    if len(part) > 2 or part.startswith("0"):
        return digits(part).replace(" ", "-")
    return cardinal(int(part))


def _acronym(found: re.Match[str]) -> str | None:
    letters, ending = found["letters"], found["ending"] or ""
    if letters in SAID_AS_WORDS or (len(letters) > 3 and re.search("[AEIOUY]", letters)):
        return None
    before, after = found.string[: found.start()], found.string[found.end() :]
    if re.search(r"\b[A-Z]{4,}\W{1,3}$", before) and re.match(r"\W{1,3}[A-Z]{4,}\b", after):
        return None  # somebody shouts
    return spelled(letters) + (".s" if ending == "s" else ending)


def _roman(found: re.Match[str]) -> str | None:
    value = _ROMAN.get(found["roman"])
    return None if value is None else cardinal(value)


def _regnal(found: re.Match[str]) -> str | None:
    value = _ROMAN.get(found["roman"])
    return None if value is None else f"{found['name']} the {numbers.ordinal(value)}"


def _room(found: re.Match[str]) -> str:
    text = found["number"]
    if len(text) == 3 and text[1] == "0" and text[2] != "0":
        return f"{cardinal(int(text[0]))} oh {cardinal(int(text[2]))}"
    return cardinal(int(text)) if text.endswith("00") else digits(text)


def _abbreviation(found: re.Match[str]) -> str:
    ends = not found.string[found.end() :].strip(" \"'”’)")
    return ABBREVIATIONS[found[1].lower()] + ("." if ends else "")


def _apart(word: str) -> str:
    """Words for a symbol, apart from what touches it."""
    return f" {word} "


_COUNTED = re.compile(
    r"\s(?:(?!(?:was|is|as|has|this|its|us|plus|vs)\b)[a-z]+s|people|men|women|children)\b"
)
_YEAR_BEFORE = re.compile(
    r"\b(?:in|since|from|by|until|till|of|year|before|after|during|around|between|and|to|early|late|"
    r"mid|spring|summer|autumn|fall|winter)[\s-]+$",
    re.IGNORECASE,
)


def _plain(found: re.Match[str]) -> str:
    text = found["number"]
    if re.fullmatch(r"1[1-9]\d\d|20\d\d", text) and not found["sign"]:
        counted = _COUNTED.match(found.string, found.end())
        after_preposition = _YEAR_BEFORE.search(found.string[: found.start()][-12:])
        if not counted or (after_preposition and not text.endswith("00")):
            return numbers.year(int(text))
    return number(found["sign"] + text)


def _rules(day_first: bool) -> tuple[Rule, ...]:
    signed = rf"(?P<sign>{_SIGN})"
    low = rf"(?:(?P<low>{_N}){_DASH})?"
    return (
        *ADDRESS_RULES,
        *date_rules(day_first),
        (
            re.compile(rf"{_BEGIN}((?:1[1-9]|20)\d0)['’]?s{_END}"),
            lambda found: numbers.plural_year(int(found[1])),
        ),
        (
            re.compile(rf"(?<![\w.,])['’]?([2-9]0)['’]?s{_END}"),
            lambda found: numbers.plural_year(int(found[1])),
        ),
        (
            re.compile(
                rf"{_BEGIN}(?P<currency>{_CURRENCY})\s?(?P<low>{_N}){_DASH}"
                rf"(?:{_CURRENCY})?(?P<high>{_N}){_SCALE}{_END}"
            ),
            _money_range,
        ),
        (
            re.compile(
                rf"{_BEGIN}(?P<sign>[-−])?(?P<currency>{_CURRENCY})\s?"
                rf"(?P<amount>{_N}){_SCALE}{_END}"
            ),
            _money,
        ),
        (
            re.compile(
                rf"{_BEGIN}(?P<sign>[-−])?(?P<amount>{_N}){_SCALE}\s?"
                rf"(?P<currency>{_CURRENCY}){_END}"
            ),
            _money,
        ),
        (re.compile(rf"{_BEGIN}{low}{signed}(?P<number>{_N})\s?%"), _percent),
        (
            re.compile(rf"{_BEGIN}{low}{signed}(?P<number>{_N})[\s-]?(?P<unit>{_UNIT}){_END}"),
            _measure,
        ),
        (
            re.compile(r"(?<!\w)(\d)['’′]\s?(\d{1,2})[\"”″]"),
            lambda found: f"{cardinal(int(found[1]))} foot {cardinal(int(found[2]))}",
        ),
        (re.compile(rf"(?<=[\d{CLAIMED}])\s?/\s?(?={_TIME_UNIT}{_END})"), lambda _: _apart("per")),
        (re.compile(rf"(?<={CLAIMED})(?:-|\s?[–—]\s?)(?={CLAIMED})"), lambda _: _apart("to")),
        (
            re.compile(
                r"(?<![\w.,/])(?:(?P<whole>\d{1,3})\s)?(?P<above>\d+)\s?[/⁄]\s?(?P<below>\d+)"
                r"(?![\w/])"
            ),
            _fraction,
        ),
        (
            re.compile(rf"{_BEGIN}(?P<whole>\d{{1,3}})\s?(?P<part>[½⅓⅔¼¾])"),
            lambda found: f"{cardinal(int(found['whole']))} and {SYMBOLS[found['part']]}".replace(
                "and one ", "and a "
            ),
        ),
        (
            re.compile(
                rf"{_BEGIN}(\d{{1,3}}(?:,\d{{3}})+|\d+)(?:st|nd|rd|th){_END}", re.IGNORECASE
            ),
            lambda found: numbers.ordinal(int(found[1].replace(",", ""))),
        ),
        (
            re.compile(
                rf"\b(?P<before>{_CODE_AFTER}(?:\s(?:number|no\.?|code|is))?[\s:#]{{1,3}})"
                rf"(?P<number>\d{{2,}})(?![\w.,:]\d|\w)"
            ),
            lambda found: digits(found["number"]),
        ),
        (
            re.compile(
                r"\b(?P<before>(?:[Rr]oom|[Ff]light|[Ss]uite|[Aa]partment|[Aa]pt|[Bb]us|[Rr]oute"
                r"|[Hh]ighway|[Uu]nit)\s)(?P<number>\d{3})(?![\w.,:]\d|\w)"
            ),
            _room,
        ),
        (
            re.compile(r"(?<!\w)(?:[Nn]o\.|[Nn]r\.|№|#)\s?(\d+)(?!\w)"),
            lambda found: f"number {number(found[1])}",
        ),
        (re.compile(rf"(?P<before>\b(?:{_ROMAN_AFTER})\s)(?P<roman>[IVX]+){_END}"), _roman),
        (re.compile(rf"(?P<name>\b[A-Z][a-z]{{2,}})\s(?P<roman>[IVX]{{2,}}){_END}"), _regnal),
        (
            re.compile(r"(?<!\w)(?P<title>" + _TITLE + r")\.(?=\s(?:[A-Z\ue000]|and\s[A-Z]))"),
            lambda found: TITLES[found["title"].lower()],
        ),
        (re.compile(r"(?<=[a-z]\s)(?<!\b[Tt]he\s)St\.(?=\s[a-z]|\s?[,;)])"), lambda _: "Street"),
        (re.compile(r"(?<=[a-z]\s)St(?=\.\W*$|[,;])"), lambda _: "Street"),
        (
            re.compile(
                r"(?<![\w.])(" + "|".join(map(re.escape, ABBREVIATIONS)) + r")\.(?!\w)",
                re.IGNORECASE,
            ),
            _abbreviation,
        ),
        (re.compile(rf"{_BEGIN}(?P<low>{_N})(?:[-–]|\s[–—]\s)(?P<high>{_N})(?![\w-])"), _range),
        (
            re.compile(rf"{_BEGIN}(\d+(?:\.\d+)?)x{_END}(?!\s?\d)"),
            lambda found: f"{number(found[1])} times" if found[1] != "1" else None,
        ),
        (
            re.compile(r"(?<!\w)[vV]\.?(\d+(?:\.\d+)+)(?![\w]|\.\d)"),
            lambda found: "version " + " point ".join(map(number, found[1].split("."))),
        ),
        (
            re.compile(rf"{_BEGIN}(\d+(?:\.\d+)?)k{_END}"),
            lambda found: f"{number(found[1])} thousand",
        ),
        (
            re.compile(rf"{_BEGIN}(\d+(?:\.\d+){{2,}})(?![\w]|\.\d)"),
            lambda found: " point ".join(number(part) for part in found[1].split(".")),
        ),
        (re.compile(r"(?<![\w.])[A-Za-z0-9]+(?:-[A-Za-z]*\d[A-Za-z0-9]*)*(?!\w)"), _code),
        (
            re.compile(r"(?<![\w'’-])(?P<letters>[A-Z]{2,6})(?P<ending>['’]?s)?(?![\w])"),
            _acronym,
        ),
        (re.compile(rf"(?<!\w){signed}(?P<number>{_N})(?![\w])"), _plain),
        (re.compile(r"\d+"), lambda found: number(found[0]) if found[0].isascii() else None),
        (re.compile(r"(?<!\w)~(?=[\d\ue000])"), lambda _: "about "),
        (re.compile(r"(?<=[\d\ue000])\s?[x×*]\s?(?=[\d\ue000])"), lambda _: _apart("times")),
        (re.compile(r"(?<=[\d\ue000])\s-\s(?=[\d\ue000])"), lambda _: _apart("minus")),
        (re.compile(r"(?<![\w.])([CF])#"), lambda found: f"{found[1]} sharp"),
        (
            re.compile("[" + "".join(map(re.escape, SYMBOLS)) + "]"),
            lambda found: _apart(SYMBOLS[found[0]]),
        ),
        (re.compile(r"(?<=[\w\ue000])\s?/\s?(?=[\w\ue000])"), lambda _: _apart("slash")),
        (re.compile(r"[|\\^~*_`{}#]+"), lambda _: " "),
    )


_RULES = {day_first: _rules(day_first) for day_first in (False, True)}


_SOMETHING = re.compile(
    r"[\d№|\\^~*_`{}#/" + "".join(map(re.escape, SYMBOLS)) + r"]|[A-Z]{2}|\w\.\w|"
    rf"(?:{_ROMAN_AFTER})\s[IVX]|(?<!\w)(?:{_TITLE}|"
    + "|".join(f"(?i:{re.escape(each)})" for each in ABBREVIATIONS)
    + r")\.|St\b"
)
"""Without any of this no rule has anything to say, and most text has none of it."""


class English:
    """Normalises English text.

    Args:
        day_first: 05/06/2024 is in June.
    """

    def __init__(self, *, day_first: bool = False) -> None:
        self._rules = _RULES[day_first]

    def __call__(self, text: str, claimed: Sequence[Replacement] = ()) -> list[Replacement]:
        if not _SOMETHING.search(text):
            return list(claimed)
        return apply_rules(text, self._rules, claimed)
