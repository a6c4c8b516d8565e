"""Dates and times of day in English words. Pure."""

import re
from collections.abc import Callable

from services.tts.normalisation.base import Rule
from services.tts.normalisation.english_numbers import cardinal, clock, ordinal, year
from services.tts.normalisation.english_terms import MONTHS

_MONTH = "|".join(MONTHS) + "|" + "|".join(rf"{month[:3]}\.?" for month in MONTHS) + r"|Sept\.?"
_DAY = r"(?P<day>[12]\d|3[01]|0?[1-9])(?:st|nd|rd|th)?"
_YEAR = r"(?P<year>1\d{3}|2[01]\d\d)"
_HALF = r"(?:\s?(?P<half>[AaPp]\.?\s?[Mm](?:\.(?!\w)|(?![\w.]))|[AaPp]\.[Mm]\.))"
_ON = (
    "(?:"
    + "|".join(rf"(?<=\b{word}\s)" for word in ("on", "On", "by", "By", "until", "since"))
    + ")"
)
"""Words before a day, by which 3/4 is no fraction."""
_END = r"(?!\w|[.,:]\d)"


def date_rules(day_first: bool) -> tuple[Rule, ...]:
    """Rules for dates and times; `day_first`: 05/06/2024 is in June."""
    return (
        (re.compile(r"(?<![\w.,/-])(\d{4})-(\d\d)-(\d\d)(?![\w-])"), _iso),
        (
            re.compile(r"(?<![\w.,/-])(\d{1,2})([/.-])(\d{1,2})\2(\d{4}|\d\d)(?![\w/-]|\.\d)"),
            _numeric(day_first),
        ),
        (
            re.compile(rf"{_ON}(\d{{1,2}})([/])(\d{{1,2}})()(?![\w/-]|[.,]\d)"),
            _numeric(day_first),
        ),
        (re.compile(rf"(?<!\w)(?P<month>{_MONTH})\s{_DAY}(?:,?\s{_YEAR})?{_END}"), _named),
        (re.compile(rf"(?<![\w.,]){_DAY}\s(?P<month>{_MONTH})(?:,?\s{_YEAR})?{_END}"), _day_named),
        (re.compile(rf"(?<!\w)(?P<month>{_MONTH}),?\s{_YEAR}{_END}"), _month_year),
        (
            re.compile(
                rf"(?<![\w.,:])(?P<hour>[01]?\d|2[0-3]):(?P<minute>[0-5]\d)"
                rf"(?::(?P<second>[0-5]\d))?{_HALF}?(?![\w]|:\d)"
            ),
            _time,
        ),
        (
            re.compile(
                rf"(?<![\w.,:])(?P<hour>0?[1-9]|1[0-2])\.(?P<minute>[0-5]\d)(?P<second>){_HALF}"
            ),
            _time,
        ),
        (re.compile(rf"(?<![\w.,:])(?P<hour>0?[1-9]|1[0-2]){_HALF}"), _hour),
    )


def _say(month: int, day: int, in_year: int | None) -> str:
    spoken = f"{MONTHS[month - 1]} {ordinal(day)}"
    return spoken if in_year is None else f"{spoken}, {year(in_year)}"


def _iso(found: re.Match[str]) -> str | None:
    in_year, month, day = map(int, found.groups())
    return _say(month, day, in_year) if 1 <= month <= 12 and 1 <= day <= 31 else None


def _numeric(day_first: bool) -> Callable[[re.Match[str]], str | None]:
    def say(found: re.Match[str]) -> str | None:
        first, mark, second, year_text = found.groups()
        month, day = int(first), int(second)
        if day_first or mark == "." or month > 12:
            month, day = day, month
        if day <= 12 < month:
            month, day = day, month
        if not (1 <= month <= 12 and 1 <= day <= 31):
            return None
        if not year_text:
            return _say(month, day, None)
        in_year = int(year_text)
        if len(year_text) == 2:
            in_year += 2000 if in_year < 50 else 1900
        return _say(month, day, in_year)

    return say


def _month(found: re.Match[str]) -> int:
    return next(i for i, name in enumerate(MONTHS, 1) if name[:3] == found["month"][:3])


def _year_of(found: re.Match[str]) -> int | None:
    return int(found["year"]) if found["year"] else None


def _named(found: re.Match[str]) -> str:
    return _say(_month(found), int(found["day"]), _year_of(found))


def _day_named(found: re.Match[str]) -> str:
    spoken = f"the {ordinal(int(found['day']))} of {MONTHS[_month(found) - 1]}"
    in_year = _year_of(found)
    if re.search(r"\b[Tt]he\s$", found.string[: found.start()]):
        spoken = spoken.removeprefix("the ")
    return spoken if in_year is None else f"{spoken}, {year(in_year)}"


def _month_year(found: re.Match[str]) -> str:
    return f"{MONTHS[_month(found) - 1]} {year(int(found['year']))}"


def _half(found: re.Match[str]) -> str:
    half = found["half"]
    return "" if not half else "a.m." if half[0] in "aA" else "p.m."


def _time(found: re.Match[str]) -> str:
    second = int(found["second"]) if found["second"] else None
    return clock(int(found["hour"]), int(found["minute"]), second, _half(found))


def _hour(found: re.Match[str]) -> str:
    return f"{cardinal(int(found['hour']))} {_half(found)}"
