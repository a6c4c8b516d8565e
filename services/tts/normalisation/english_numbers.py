"""English numbers in words, through num2words, and the rules that it lacks. Pure."""

import re

from services.tts.normalisation.base import in_words, read_digits
from services.tts.normalisation.english_terms import DIGITS

_IRREGULAR = {2: ("half", "halves"), 4: ("quarter", "quarters")}
_LARGEST_DENOMINATOR = 100


def cardinal(number: int) -> str:
    """ "1205" → "one thousand two hundred five"; too long ones digit by digit."""
    spoken = in_words(number, "en")
    return digits(str(number)) if spoken is None else spoken.replace(" and ", " ")


def ordinal(number: int) -> str:
    spoken = in_words(number, "en", "ordinal")
    return f"{digits(str(number))}th" if spoken is None else spoken.replace(" and ", " ")


def digits(text: str) -> str:
    return read_digits(text, DIGITS)


def number(text: str) -> str:
    """A number as it is written: sign, thousands' commas, a decimal point, leading zeros."""
    text = text.replace(",", "").replace("−", "-").replace(" ", "")
    sign, text = ("minus ", text[1:]) if text.startswith("-") else ("", text.lstrip("+"))
    whole, _, decimals = text.partition(".")
    if len(whole) > 1 and whole.startswith("0"):
        spoken = digits(whole)
    else:
        spoken = cardinal(int(whole)) if whole else "zero"
    return sign + (f"{spoken} point {digits(decimals)}" if decimals else spoken)


def is_one(text: str) -> bool:
    return text.lstrip("-−+") == "1"


def year(number: int) -> str:
    """ "1987" → "nineteen eighty-seven", "2008" → "two thousand eight"."""
    if not 1000 <= number <= 9999:
        return cardinal(number)
    spoken = in_words(number, "en", "year") or ""
    return spoken.replace(" and ", " ").replace("oh-", "oh ")


def plural_year(number: int) -> str:
    """ "1990" → "nineteen nineties"."""
    head, _, last = year(number).rpartition(" ")
    tens, _, name = last.rpartition("-")
    name = f"{name[:-1]}ies" if name.endswith("y") else f"{name}s"
    return f"{head} {tens}{'-' if tens else ''}{name}".strip()


def fraction(above: int, below: int) -> str:
    """ "3/4" → "three quarters"; "1/365" → "one over three hundred sixty-five"."""
    if not 1 < below <= _LARGEST_DENOMINATOR:
        return f"{cardinal(above)} over {cardinal(below)}"
    one, many = _IRREGULAR.get(below, (ordinal(below), f"{ordinal(below)}s"))
    return f"{cardinal(above)} {one if above == 1 else many}"


def grouped_digits(text: str) -> str:
    """ "(415) 555-2671" → "four one five, five five five, two six seven one"."""
    groups = re.findall(r"\d+", text)
    spoken = ", ".join(digits(group) for group in groups)
    return f"plus {spoken}" if text.startswith("+") else spoken


def clock(hour: int, minute: int, second: int | None, half: str) -> str:
    """Time of day; `half` is "a.m.", "p.m." or nothing."""
    if minute:
        spoken = f"{cardinal(hour)} {'oh ' if minute < 10 else ''}{cardinal(minute)}"
    elif half or second:
        spoken = cardinal(hour) if half else f"{cardinal(hour)} o'clock"
    else:
        spoken = f"{cardinal(hour)} o'clock" if 0 < hour < 13 else f"{cardinal(hour)} hundred hours"
    if second:
        spoken += f" and {cardinal(second)} second{'' if second == 1 else 's'}"
    return f"{spoken} {half}".rstrip()
