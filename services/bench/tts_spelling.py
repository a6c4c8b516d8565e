"""Writings of one utterance made equal, so that a word error is one of hearing. Pure.

After Whisper's normaliser, which both sides go through, they may still differ in how they write
what sounds the same: 10:30 or 10.30, $3.50 or dollar 3.50, 555-2671 or 5552671, a.m. or am. Numbers
become their digits, one a word, so that each wrong digit counts.
"""

import re

_RULES = (
    (re.compile(r"(?<=\d),(?=\d{3}\b)"), ""),
    (re.compile(r"[$](?=\s*\d)"), "dollar "),
    (re.compile(r"[£](?=\s*\d)"), "pound "),
    (re.compile(r"[€](?=\s*\d)"), "euro "),
    (re.compile(r"%"), " percent "),
    (re.compile(r"(?<=\d)(st|nd|rd|th)\b"), ""),
    (re.compile(r"\d"), r" \g<0> "),
    (re.compile(r"\b([ap])\s?\.?\s?m\b\.?"), r"\1m"),
    (re.compile(r"[^\w\s']"), " "),
    (re.compile(r"\bdollars\b"), "dollar"),
)


def plain_spelling(normalised: str) -> str:
    """`normalised` in one spelling of numbers, times, money and units of time."""
    text = normalised.lower()
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return " ".join(text.split())
